"""From annotated notes to a measured, calibrated and packaged pipeline.

OUTPUT/pipeline          the calibrated pipeline with its model card
OUTPUT/report.html       its evaluation
OUTPUT/packages/*.whl    its wheel
OUTPUT/.fit              the finished steps and what they wrote: the same command goes on there
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spacy_btl.corpora.expressible import Expressible
from spacy_btl.corpora.report import report_file
from spacy_btl.errors import FileError
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.evaluation.report import require_extra, write_report
from spacy_btl.exchange.card import README, write_card
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.experiments.folds import short_hash
from spacy_btl.experiments.plan import TRAINING_VERSION
from spacy_btl.files import read_yaml, write_file
from spacy_btl.fit import choices
from spacy_btl.fit.card import draft_card
from spacy_btl.fit.choices import Choice, Options
from spacy_btl.fit.clock import MEASURED, Clock, in_words, work_of
from spacy_btl.fit.conclusions import conclusions, trust
from spacy_btl.fit.corpus import cautions, convert_notes, divide_notes
from spacy_btl.fit.encoder import Facts, packaged_minilm, read_facts
from spacy_btl.fit.listener import Listener
from spacy_btl.fit.networks import RECIPE, settings_of, train_network
from spacy_btl.fit.package import (
    build_wheel,
    check_version,
    install_command,
    require_build,
    wheel_name,
)
from spacy_btl.fit.steps import MadeOf, Steps, tree_hash
from spacy_btl.gpu import use_gpu
from spacy_btl.training.average import average
from spacy_btl.training.calibrate import calibrate

STATE = ".fit"
LONG = 600  # seconds, from which a shorter way is offered


def fit(
    notes: Path, output: Path, options: Options | None = None, listener: Listener | None = None
) -> list[str]:
    """Train, calibrate, measure and package a pipeline on annotated notes.

    A step that an earlier run with this output finished is not done again, unless what it is made
    of has changed.

    notes (Path): Annotation in a format that `convert` reads.
    output (Path): A new or empty folder, or that of an earlier run.
    options (Optional[Options]): What is not left to be chosen.
    listener (Optional[Listener]): Is told what happens.
    RETURNS (List[str]): What was found, in some ten lines.
    RAISES: BtlError, for notes, an encoder or an option that cannot be used, or notes that cannot
        be learned from.

    >>> from spacy_btl import fit
    >>> lines = fit(Path("corpus"), Path("fitted"))
    """
    options, listener = options or Options(), listener or Listener()
    _check(notes, output, options)
    with _locked(output / STATE):
        return _Run(notes, output.resolve(), options, listener).all()


def _check(notes: Path, output: Path, options: Options) -> None:
    """Refuse what would fail after hours."""
    require_extra()
    require_build()
    check_version(options.version)
    choices.choose_name(options.name, notes)
    if options.card is not None:
        read_yaml(options.card, CardFile, "card file")
    if not notes.exists():
        raise FileError(f"{notes}: no such file or folder. Give annotated notes.")
    if output.resolve().is_relative_to(notes.resolve()):
        raise FileError(f"{output} lies in {notes}, and would be read as notes: give another.")
    if output.is_file() or (
        output.is_dir() and any(output.iterdir()) and not (output / STATE).is_dir()
    ):
        raise FileError(f"{output} exists and is not of `btl fit`: give another folder.")


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / "lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise FileError(f"{state.parent}: another process is working on it.") from None
    except OSError as error:
        raise FileError(f"{state.parent}: cannot be written ({error.strerror}).") from error
    try:
        yield
    finally:
        lock.release()


@dataclass
class _Run:
    """A run: its steps, in their order, and what they learned from each other."""

    notes: Path
    output: Path
    options: Options
    listener: Listener
    chosen: dict[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.output / STATE
        self.steps = Steps(self.state / "steps", self.listener.on_step)
        self.corpus = self.state / "corpus"

    def all(self) -> list[str]:
        """Do what is not done."""
        converted = self.convert()
        parts = self.divide()
        doubts = cautions(parts)
        for text in doubts:
            self.listener.on_caution(text)
        encoder = self.choose(Expressible(*converted["expressible"]), parts)
        self.listener.on_choices(self.chosen)
        use_gpu(self.chosen["processor"].value)
        clock = self.clock(parts)
        network = self.train(encoder, clock)
        calibrated = self.calibrate(network, clock)
        metrics = self.evaluate(calibrated, clock)
        self.card(calibrated, metrics, parts, doubts, clock)
        package, wheel = self.package(clock)
        return conclusions(
            metrics,
            parts,
            dropped=converted["dropped"],
            files={
                "report": str(self.output / "report.html"),
                "card": str(self.output / "pipeline" / README),
                "install": install_command(wheel),
                "package": package,
            },
        )

    def convert(self) -> dict[str, Any]:
        options, corpus = self.options, self.corpus / "all.spacy"

        def do() -> dict[str, Any]:
            report, chosen = convert_notes(self.notes, corpus, options)
            self.listener.on_converted(report)
            found = report.expressible
            return {
                "chosen": chosen,
                "expressible": [found.mentions, found.flat, found.overlapping],
                "dropped": {
                    label: type_.too_rare for label, type_ in report.types.items() if type_.too_rare
                },
            }

        made_of: MadeOf = {
            "notes": tree_hash(self.notes),
            "patients": None if options.patients is None else tree_hash(options.patients),
            "lang": options.lang,
            "min-mentions": options.min_mentions,
            "skip-invalid": options.skip_invalid,
            "trust-offsets": options.trust_offsets,
        }
        result = self.steps.run("convert", made_of, [corpus, report_file(corpus)], do)
        self.chosen |= {name: Choice(*choice) for name, choice in result["chosen"].items()}
        return result

    def divide(self) -> dict[str, Any]:
        corpus, seed = self.corpus / "all.spacy", self.options.seed
        made_of: MadeOf = {"notes": self.steps.hash_of(corpus), "seed": seed}
        return self.steps.run(
            "split",
            made_of,
            [self.part(name) for name in ("train", "dev", "test")],
            lambda: divide_notes(corpus, self.corpus, seed),
        )

    def part(self, name: str) -> Path:
        return self.corpus / f"{name}.spacy"

    def choose(self, expressible: Expressible, parts: dict[str, Any]) -> str:
        """Choose how to train. RETURNS (str): The encoder: a folder, or its name."""
        options, chosen = self.options, self.chosen
        encoder = options.encoder or str(packaged_minilm())
        if Path(encoder).is_dir():
            encoder = str(Path(encoder).resolve())
        facts = Facts(
            *self.steps.run("encoder", {"encoder": _hash(encoder)}, [], lambda: read_facts(encoder))
        )
        overlapping = choices.choose_overlapping(options.overlapping, expressible)
        train = parts["train"]
        chosen["overlapping"] = overlapping
        chosen["encoder"] = choices.describe_encoder(options.encoder, chosen["lang"].value)
        chosen["networks"] = choices.choose_networks(options.effort, overlapping.value)
        chosen["steps"] = choices.choose_steps(options, train["words"], train["documents"])
        chosen["learning rate"] = choices.choose_learning_rate(facts)
        chosen["window"] = choices.choose_window(facts)
        chosen["processor"] = choices.choose_gpu(options.gpu)
        chosen["name"] = choices.choose_name(options.name, self.notes)
        return encoder

    def clock(self, parts: dict[str, Any]) -> Clock:
        words = {name: parts[name]["words"] for name in ("train", "dev", "test")}
        per_step = min(choices.WORDS_PER_STEP, words["train"])
        steps = self.chosen["steps"].value
        clock = Clock(
            work_of(
                dict.fromkeys(map(_training, self.chosen["networks"].value), steps), words, per_step
            ),
            self.listener.on_progress,
        )
        small = Options(effort="small")
        fewer = choices.choose_steps(small, words["train"], parts["train"]["documents"]).value
        self.per_step = per_step
        self.small = sum(work_of({"train btl": fewer}, words, per_step).values()) / clock.total
        return clock

    def train(self, encoder: str, clock: Clock) -> Path:
        """Train the networks and average them. RETURNS (Path): The pipeline."""
        paths = {"train": str(self.part("train")), "dev": str(self.part("dev")), "encoder": encoder}
        made_of = {
            "recipe": short_hash([RECIPE.read_text("utf-8"), TRAINING_VERSION]),
            "training documents": self.steps.hash_of(self.part("train")),
            "dev documents": self.steps.hash_of(self.part("dev")),
            "encoder": _hash(encoder),
            "processor": "CPU" if self.chosen["processor"].value < 0 else "GPU",
        }
        folders = []
        for loss in self.chosen["networks"].value:
            folder = self.state / "networks" / loss
            settings = self.settings(loss)

            def do(folder: Path = folder, settings: dict[str, Any] = settings) -> None:
                train_network(
                    settings,
                    paths,
                    folder,
                    self.state / f"{folder.name}.log",
                    gpu=self.chosen["processor"].value,
                    on_step=lambda: self.on_training_step(clock),
                )

            values = {name: json.dumps(value) for name, value in settings.items()}
            self.steps.run(_training(loss), {**made_of, **values}, [folder], do)
            clock.finish(_training(loss))
            folders.append(folder)
        if len(folders) == 1:
            return folders[0]
        averaged = self.state / "averaged"
        self.steps.run(
            "average",
            {f"network {folder.name}": self.steps.hash_of(folder) for folder in folders},
            [averaged],
            lambda: average([str(folder) for folder in folders], averaged),
        )
        clock.finish("average")
        return averaged

    def settings(self, loss: str) -> dict[str, Any]:
        chosen = self.chosen
        return settings_of(
            loss,
            overlapping=chosen["overlapping"].value,
            lang=chosen["lang"].value,
            steps=chosen["steps"].value,
            seed=self.options.seed,
            rate=chosen["learning rate"].value,
            window=chosen["window"].value,
        )

    def on_training_step(self, clock: Clock) -> None:
        clock.advance(self.per_step)
        if clock.steps == MEASURED and clock.left is not None:
            text = f"About {in_words(clock.left)} left, by the first {MEASURED} steps."
            short = clock.left * self.small
            if self.chosen["processor"].value < 0 and clock.left > LONG and self.small < 0.8:
                text += (
                    f" --effort small takes about {in_words(short)} in all: stop this (Ctrl-C) and "
                    "give it with the same command. What is converted stays."
                )
            self.listener.on_estimate(text)

    def calibrate(self, network: Path, clock: Clock) -> Path:
        output, train, dev = self.state / "calibrated", self.part("train"), self.part("dev")
        self.steps.run(
            "calibrate",
            {
                "network": self.steps.hash_of(network),
                "training documents": self.steps.hash_of(train),
                "dev documents": self.steps.hash_of(dev),
            },
            [output],
            lambda: calibrate(str(network), train, output, settings={}, held_out=dev) and None,
        )
        clock.finish("calibrate")
        return output

    def evaluate(self, pipeline: Path, clock: Clock) -> dict[str, Any]:
        test, metrics = self.part("test"), self.state / "metrics.json"
        report = self.output / "report.html"

        def do() -> None:
            found = evaluate(str(pipeline), test, seed=self.options.seed)
            write_file(metrics, json.dumps(found, indent=2).encode("utf-8"))
            write_report(found, report)

        self.steps.run(
            "evaluate",
            {
                "pipeline": self.steps.hash_of(pipeline),
                "test documents": self.steps.hash_of(test),
                "seed": self.options.seed,
            },
            [metrics, report],
            do,
        )
        clock.finish("evaluate")
        return json.loads(metrics.read_text("utf-8"))

    def card(
        self,
        pipeline: Path,
        metrics: dict[str, Any],
        parts: dict[str, Any],
        doubts: list[str],
        clock: Clock,
    ) -> None:
        file = self.options.card
        if file is None:
            file = self.state / "card.yml"
            found = trust(metrics, list(parts["train"]["types"]))
            encoder = str(self.chosen["encoder"].value)
            text = draft_card(self.notes, encoder, parts, found, doubts)
            write_file(file, text.encode("utf-8"))
        scores, output, name = self.state / "metrics.json", self.output / "pipeline", self.name
        version = self.options.version
        self.steps.run(
            "card",
            {
                "pipeline": self.steps.hash_of(pipeline),
                "figures": self.steps.hash_of(scores),
                "card": tree_hash(file),
                "name": name,
                "version": version,
            },
            [output],
            lambda: (
                write_card(str(pipeline), scores, file, output, name=name, version=version) and None
            ),
        )
        clock.finish("card")

    @property
    def name(self) -> str:
        return str(self.chosen["name"].value)

    def package(self, clock: Clock) -> tuple[str, Path]:
        """RETURNS (Tuple[str, Path]): The name of the package, and its wheel."""
        pipeline, package = self.output / "pipeline", f"{self.chosen['lang'].value}_{self.name}"
        wheel = self.output / "packages" / wheel_name(package, self.options.version)
        self.steps.run(
            "package",
            {"pipeline": self.steps.hash_of(pipeline)},
            [wheel],
            lambda: build_wheel(pipeline, wheel, self.state / "package.log"),
        )
        clock.finish("package")
        return package, wheel


def _training(loss: str) -> str:
    return f"train {loss}"


def _hash(encoder: str) -> str:
    """What tells an encoder from another one: the hash of its files, or its name."""
    return tree_hash(Path(encoder)) if Path(encoder).is_dir() else encoder
