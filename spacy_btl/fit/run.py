"""The steps of a run in their order. Each is a command that exists by itself, too."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language

from spacy_btl.corpora.parts import PARTS
from spacy_btl.corpora.report import report_file
from spacy_btl.errors import in_words
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.evaluation.report import write_report
from spacy_btl.exchange.card import README, write_card
from spacy_btl.experiments.folds import short_hash
from spacy_btl.experiments.plan import TRAINING_VERSION
from spacy_btl.expressible import Expressible
from spacy_btl.files import write_file
from spacy_btl.fit import choices
from spacy_btl.fit.card import draft_card
from spacy_btl.fit.choices import Choice, Options
from spacy_btl.fit.conclusions import conclusions, trust
from spacy_btl.fit.corpus import Part, cautions, convert_notes, divide_notes, parts_of
from spacy_btl.fit.encoder import Facts, packaged_minilm, read_facts
from spacy_btl.fit.networks import RECIPE, settings_of, train_network
from spacy_btl.fit.package import build_wheel, install_command, wheel_name
from spacy_btl.fit.progress import MEASURED, Clock, Listener, work_of
from spacy_btl.fit.steps import MadeOf, Steps, tree_hash
from spacy_btl.gpu import use_gpu
from spacy_btl.training.add_context import add_context, require_english
from spacy_btl.training.add_sections import add_sections
from spacy_btl.training.average import average
from spacy_btl.training.calibrate import calibrate

# A shorter way is offered from so many seconds, if it takes less than such a share of them.
LONG = 600
MUCH_LESS = 0.8


@dataclass
class Run:
    """A run: its steps, in their order, and what is chosen for them.

    state (Path): The folder of what is kept for the next run.
    gpu (int): As for `spacy train`; -1 is the CPU.
    """

    notes: Path
    output: Path
    state: Path
    options: Options
    listener: Listener
    chosen: dict[str, Choice] = field(default_factory=dict)
    gpu: int = -1

    def __post_init__(self) -> None:
        self.steps = Steps(self.state / "steps", self.output, self.listener.on_step)
        self.corpus = self.state / "corpus"

    def all(self) -> list[str]:
        """Do what is not done."""
        converted = self._convert()
        counts = self._divide()
        overlapping = choices.choose_overlapping(
            self.options.overlapping, Expressible(*converted["expressible"])
        )
        parts = parts_of(counts, overlapping=overlapping.value)
        doubts = cautions(parts)
        for text in doubts:
            self.listener.on_caution(text)
        self.chosen["overlapping"] = overlapping
        if self.options.context:
            require_english(self.chosen["lang"].value)
        encoder = self._choose(parts["train"])
        self.listener.on_choices(self.chosen)
        use_gpu(self.gpu)
        clock = self._clock(parts)
        network = self._train(encoder, clock)
        calibrated = self._calibrate(network, clock)
        if self.options.sections:
            calibrated = self._add("sections", add_sections, calibrated)
        if self.options.context:
            calibrated = self._add("context", add_context, calibrated)
        metrics = self._evaluate(calibrated, clock)
        for text in metrics["cautions"]:
            self.listener.on_caution(text)
        self._card(calibrated, metrics, parts, doubts, clock)
        package, wheel = self._package(clock)
        return conclusions(
            metrics,
            parts,
            dropped=converted["dropped"],
            effort=self.options.effort,
            files={
                "report": str(self.output / "report.html"),
                "card": str(self.output / "pipeline" / README),
                "pipeline": str(self.output / "pipeline"),
                "install": install_command(wheel),
                "package": package,
            },
        )

    def _convert(self) -> dict[str, Any]:
        options, corpus = self.options, self.corpus / "all.spacy"

        def do() -> dict[str, Any]:
            report, chosen = convert_notes(self.notes, corpus, options)
            self.listener.on_converted(report, chosen["min-mentions"].value)
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
            "annotator": options.annotator,
            "layer": ",".join(options.layers),
        }
        result = self.steps.run("convert", made_of, [corpus, report_file(corpus)], do)
        self.chosen |= {name: Choice(*choice) for name, choice in result["chosen"].items()}
        return result

    def _divide(self) -> dict[str, Any]:
        corpus, seed = self.corpus / "all.spacy", self.options.seed
        made_of: MadeOf = {"notes": self.steps.hash_of(corpus), "seed": seed}
        return self.steps.run(
            "split",
            made_of,
            [self._part(name) for name in PARTS],
            lambda: divide_notes(corpus, self.corpus, seed),
        )

    def _part(self, name: str) -> Path:
        return self.corpus / f"{name}.spacy"

    def _choose(self, train: Part) -> str:
        """Choose how to train. RETURNS (str): The encoder: a folder, or its name."""
        options, chosen = self.options, self.chosen
        encoder = options.encoder or str(packaged_minilm())
        if Path(encoder).is_dir():
            encoder = str(Path(encoder).resolve())
        facts = Facts(
            *self.steps.run("encoder", {"encoder": _hash(encoder)}, [], lambda: read_facts(encoder))
        )
        chosen["encoder"] = choices.describe_encoder(options.encoder, chosen["lang"].value)
        chosen["networks"] = choices.choose_networks(options.effort, chosen["overlapping"].value)
        chosen["steps"] = choices.choose_steps(options, train.words, train.documents)
        chosen["learning rate"] = choices.choose_learning_rate(facts)
        chosen["window"] = choices.choose_window(facts)
        chosen["neighbours"] = choices.choose_neighbors(train.words)
        self.gpu, reason = choices.choose_gpu(options.gpu)
        chosen["processor"] = Choice("CPU" if self.gpu < 0 else f"GPU {self.gpu}", reason)
        chosen["name"] = choices.choose_name(options.name, self.notes)
        return encoder

    def _clock(self, parts: dict[str, Part]) -> Clock:
        words = {name: parts[name].words for name in PARTS}
        per_step = min(choices.WORDS_PER_STEP, words["train"])
        names = [_training(loss) for loss in self.chosen["networks"].value]
        steps = self.chosen["steps"].value + 1  # spaCy counts from 0
        work = work_of(dict.fromkeys(names, steps), words, per_step)
        small = choices.choose_steps(Options(effort="small"), words["train"], 0).value
        least = work_of({_training("btl"): small}, words, per_step)
        return Clock(work, per_step, sum(least.values()), self.listener.on_progress)

    def _train(self, encoder: str, clock: Clock) -> Path:
        """Train the networks and average them. RETURNS (Path): The pipeline."""
        paths = {
            "train": str(self._part("train")),
            "dev": str(self._part("dev")),
            "encoder": encoder,
        }
        made_of = {
            "recipe": short_hash([RECIPE.read_text("utf-8"), TRAINING_VERSION]),
            "training documents": self.steps.hash_of(self._part("train")),
            "dev documents": self.steps.hash_of(self._part("dev")),
            "encoder": _hash(encoder),
            "processor": "CPU" if self.gpu < 0 else "GPU",
        }
        folders = []
        for loss in self.chosen["networks"].value:
            folder = self.state / "networks" / loss
            settings = self._settings(loss)

            def do(folder: Path = folder, settings: dict[str, Any] = settings) -> None:
                train_network(
                    settings,
                    paths,
                    folder,
                    self.state / f"{folder.name}.log",
                    gpu=self.gpu,
                    on_step=lambda: self._on_training_step(clock),
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

    def _settings(self, loss: str) -> dict[str, Any]:
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

    def _on_training_step(self, clock: Clock) -> None:
        clock.advance()
        left = clock.left
        if clock.steps != MEASURED or left is None:
            return
        text = f"About {in_words(left)} left, by the first {MEASURED} steps."
        if self.gpu < 0 and left > LONG and clock.least < MUCH_LESS * clock.total:
            text += (
                f" --effort small takes about {in_words(clock.seconds(clock.least))} in all: stop "
                "this (Ctrl-C) and add it to the same command. What is converted stays."
            )
        self.listener.on_estimate(text)

    def _calibrate(self, network: Path, clock: Clock) -> Path:
        output, train, dev = self.state / "calibrated", self._part("train"), self._part("dev")

        neighbors = self.chosen["neighbours"].value

        def do() -> None:
            settings = {"n_neighbors": neighbors}
            calibrate(str(network), train, output, settings=settings, held_out=dev)

        self.steps.run(
            "calibrate",
            {
                "network": self.steps.hash_of(network),
                "neighbours": neighbors,
                "training documents": self.steps.hash_of(train),
                "dev documents": self.steps.hash_of(dev),
            },
            [output],
            do,
        )
        clock.finish("calibrate")
        return output

    def _add(self, what: str, add: Callable[[str, Path], Language], pipeline: Path) -> Path:
        output = self.state / f"with-{what}"

        def do() -> None:
            add(str(pipeline), output)

        self.steps.run(what, {"pipeline": self.steps.hash_of(pipeline)}, [output], do)
        return output

    def _evaluate(self, pipeline: Path, clock: Clock) -> dict[str, Any]:
        test, metrics = self._part("test"), self.state / "metrics.json"

        def do() -> None:
            found = evaluate(str(pipeline), test, seed=self.options.seed)
            write_file(metrics, json.dumps(found, indent=2).encode("utf-8"))

        self.steps.run(
            "evaluate",
            {
                "pipeline": self.steps.hash_of(pipeline),
                "test documents": self.steps.hash_of(test),
                "seed": self.options.seed,
            },
            [metrics],
            do,
        )
        clock.finish("evaluate")
        return json.loads(metrics.read_text("utf-8"))

    def _card(
        self,
        pipeline: Path,
        metrics: dict[str, Any],
        parts: dict[str, Part],
        doubts: list[str],
        clock: Clock,
    ) -> None:
        file = self.options.card
        if file is None:
            file = self.state / "card.yml"
            found = trust(metrics, list(parts["train"].types))
            encoder = str(self.chosen["encoder"].value)
            text = draft_card(self.notes, encoder, parts, found, doubts)
            write_file(file, text.encode("utf-8"))
        scores, output = self.state / "metrics.json", self.output / "pipeline"
        name, version = str(self.chosen["name"].value), self.options.version
        report = self.output / "report.html"

        def do() -> None:
            write_card(str(pipeline), scores, file, output, name=name, version=version)
            write_report({**metrics, "model": f"{self._package_name} {version}"}, report)

        self.steps.run(
            "card",
            {
                "pipeline": self.steps.hash_of(pipeline),
                "figures": self.steps.hash_of(scores),
                "card": tree_hash(file),
                "name": name,
                "version": version,
            },
            [report, output],
            do,
        )
        clock.finish("card")

    @property
    def _package_name(self) -> str:
        return f"{self.chosen['lang'].value}_{self.chosen['name'].value}"

    def _package(self, clock: Clock) -> tuple[str, Path]:
        """RETURNS (Tuple[str, Path]): The name of the package, and its wheel."""
        pipeline, package = self.output / "pipeline", self._package_name
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
