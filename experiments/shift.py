"""Notes that are unlike: what `check` says of them, and what `recalibrate` does to confidence.

    python experiments/shift.py experiments/shift.yml experiments/results/shift.json

Each corpus is run through a pipeline once; all else is arithmetic over its logits. The result holds
no text. A run goes on behind the targets that are there, and passes over pipelines and cells that
are not.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import srsly
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_softmax, logit, softmax
from scipy.stats import spearmanr
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.calibration_maps import Maps
from spacy_btl.calibration.calibrator import Calibrator, Neighbors
from spacy_btl.calibration.held_out import HeldOut, judge_runs, part
from spacy_btl.calibration.reference import Reference, Tokens, describe
from spacy_btl.calibration.unlike import compare, expected_accuracy, prior_shift, shift_prior
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.mentions import MENTIONS
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipelines import load_pipeline

N_BINS = 15
DE_IDENTIFIED = {"Date": "DATE", "Age": "AGE", "Nonbiological_location": "PLACE"}
NAMES = re.compile(r"\b(?:Dr|Mr|Mrs|Ms)\.? ([A-Z][\w-]+(?: [A-Z][\w-]+)?)")
LONGEST_HEADING = 4  # words
SETTINGS = {"knn_weight": 0.25, "transition_weight": 0.15, "tau": 0.15}

Row = dict[str, Any]
Floats = NDArray[np.floating]


class Read(NamedTuple):
    """D documents as arrays: their tokens, with the neighbours of those that the encoder saw."""

    held_out: HeldOut
    neighbors: Neighbors

    @property
    def n_documents(self) -> int:
        """D."""
        return int(self.held_out.documents.max()) + 1

    def of(self, documents: NDArray[np.integer]) -> "Read":
        """Some of the documents."""
        chosen = np.zeros(self.n_documents, dtype=bool)
        chosen[documents] = True
        held_out = self.held_out
        kept = chosen[held_out.documents[held_out.seen]]
        return Read(part(held_out, chosen), Neighbors(*(each[kept] for each in self.neighbors)))


class Measured(NamedTuple):
    """What a calibrator finds: confidences and which are right, float [P] and bool [P]; the rows of
    the documents, float [D, M]; F1; and the probabilities of all candidates."""

    confidence: Floats
    correct: NDArray[np.bool_]
    rows: Floats
    f1: float
    candidates: Floats


class Scaling(NamedTuple):
    """Bias-corrected temperature scaling (Alexandari et al. 2020): softmax(logits / temperature +
    biases), biases float64 [..., S]."""

    temperature: float
    biases: Floats

    def __call__(self, logits: Floats) -> Floats:
        """Probabilities of the tags, float64 [N, ..., S]."""
        return cast(Floats, softmax(logits / self.temperature + self.biases, axis=-1))


@dataclass(frozen=True)
class Source:
    """A pipeline with maps and reference of its own held-out documents."""

    calibrator: Calibrator
    held_out: Read
    judged: tuple[int, ...] | None = None  # types that a target has annotation of

    @property
    def maps(self) -> Maps:
        """Of the held-out documents."""
        return cast(Maps, self.calibrator.maps)

    @property
    def reference(self) -> Reference:
        """The held-out documents."""
        return cast(Reference, self.calibrator.reference)

    def measure(
        self, read: Read, maps: Maps, change: Callable[[Probabilities], Probabilities] | None = None
    ) -> Measured:
        """What is found with some maps. change (Optional[Callable]): Of the probabilities."""
        held_out, calibrator = read.held_out, Calibrator(**self.calibrator.get_params())
        calibrator.datastore, calibrator.maps = self.calibrator.datastore, maps
        p = mixed(calibrator, read)
        p = p if change is None else change(p)
        found = calibrator.find_entities(p, held_out.words)
        nearest = np.full(len(held_out.seen), np.nan)
        nearest[held_out.seen] = read.neighbors.nearest
        tokens = Tokens(held_out.documents, p, held_out.seen, nearest)
        scheme = calibrator.fitted_datastore().tag_scheme
        rows = describe(tokens, found, scheme, read.n_documents)
        known, correct = judge_runs(held_out, found.runs)
        if self.judged is not None:
            judged = np.isin(found.runs.types, self.judged)
            known, correct = known & judged, correct[judged[known]]
        f1 = 2 * correct.sum() / (len(correct) + len(held_out.gold_ents))
        return Measured(found.confidences[known], correct, rows, float(f1), found.p)

    def refitted(self, read: Read, *, near: bool) -> Maps:
        """Maps of a few documents, near the own ones or as if there were none."""
        calibrator = Calibrator(**self.calibrator.get_params())
        calibrator.datastore = self.calibrator.datastore
        calibrator.fit_maps(read.held_out, read.neighbors, near=self.maps if near else None)
        return cast(Maps, calibrator.maps)


def mixed(calibrator: Calibrator, read: Read) -> Probabilities:
    """The probabilities of tags by a calibrator's maps."""
    held_out, scheme = read.held_out, calibrator.fitted_datastore().tag_scheme
    logits, weight = held_out.logits, calibrator.settings.knn_weight
    assert calibrator.maps is not None
    p = calibrator.maps.tokens(logits[:, scheme.columns], read.neighbors.p, weight)
    return cast(Any, scheme).add_borders(p, logits) if scheme.overlapping else p


def em_prior(p: Probabilities, prior: Probabilities, steps: int = 1000) -> Probabilities:
    """The shares of classes by expectation maximization (Saerens et al. 2002).

    p (float64 [N, ..., C]): Probabilities of the classes where their shares are `prior` [..., C].
    """
    shares = prior
    for _ in range(steps):
        weighted = p * (shares / prior)
        new = (weighted / weighted.sum(axis=-1, keepdims=True)).mean(axis=0)
        if np.abs(new - shares).max() < 1e-9:
            break
        shares = np.maximum(new, 1e-9)
    return shares


def fit_scaling(logits: Floats, tags: NDArray[np.integer]) -> Scaling:
    """Fit the temperature and the biases by maximum likelihood.

    logits (float [N, ..., S]): Raw logits of words that are annotated.
    tags (int [N, ...]): Their gold tags.
    """
    shape = logits.shape[1:]
    gold = np.eye(shape[-1])[tags]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        inverse, biases = parameters[0], parameters[1:].reshape(shape)
        log_p = log_softmax(logits * inverse + biases, axis=-1)
        gradient = (np.exp(log_p) - gold) / len(logits)
        slope = np.concatenate([[(gradient * logits).sum()], gradient.sum(axis=0).ravel()])
        return -float((gold * log_p).sum()) / len(logits), slope

    start = np.concatenate([[1.0], np.zeros(int(np.prod(shape)))])
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return Scaling(1 / fitted[0], fitted[1:].reshape(shape))


def ece(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """The expected calibration error, in percent."""
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, confidence - correct, minlength=N_BINS)
    return 100 * float(np.abs(gaps).sum() / max(len(correct), 1))


def above_threshold(held_out: Measured, target: Measured) -> float:
    """Average thresholded confidence (Garg et al. 2022)."""
    threshold = np.quantile(held_out.confidence, 1 - held_out.correct.mean())
    return float((target.confidence > threshold).mean())


def difference_of_confidences(held_out: Measured, target: Measured) -> float:
    """Guillory et al. (2021)."""
    fallen = held_out.confidence.mean() - target.confidence.mean()
    return float(held_out.correct.mean() - fallen)


def changed_words(doc: Doc, change: str) -> list[str | None]:
    """The words of a doc as another source has them; None for those that it does not have."""
    words: list[str | None] = [token.text for token in doc]
    if change == "lower":
        return [token.text.lower() for token in doc]
    if change == "placeholders":
        named = [
            (ent, DE_IDENTIFIED[ent.label_]) for ent in doc.ents if ent.label_ in DE_IDENTIFIED
        ]
        names = [name.span(1) for name in NAMES.finditer(doc.text)]
        named += [(doc.char_span(*name, alignment_mode="expand"), "NAME") for name in names]
        for span, placeholder in named:
            words[span.start : span.end] = [f"[**{placeholder}**]"] * len(span)
    elif change == "headings":
        for token in heading_tokens(doc):
            words[token] = None
    return words


def changed(doc: Doc, change: str) -> Doc:
    """A doc with the words of another source, and its annotation."""
    words = changed_words(doc, change)
    kept = [i for i, word in enumerate(words) if word is not None]
    new = Doc(
        doc.vocab,
        words=[cast(str, words[i]) for i in kept],
        spaces=[bool(doc[i].whitespace_) for i in kept],
    )
    place = np.cumsum([0, *(word is not None for word in words)])

    def moved(span: Span) -> Span:
        start, end = int(place[span.start]), int(place[span.end])
        return Span(new, start, end, span.label_, span_id=span.id_)

    missing = [new[int(place[t.i]) : int(place[t.i]) + 1] for t in doc if not t.ent_iob]
    new.set_ents([moved(ent) for ent in doc.ents], missing=[span for span in missing if len(span)])
    for key, group in doc.spans.items():
        new.spans[key] = [moved(span) for span in group if moved(span)]
    return new


def heading_tokens(doc: Doc) -> Iterator[int]:
    """The tokens of headings: few words up to a colon at the start of a line, none in a mention."""
    inside = {token.i for group in (doc.ents, *doc.spans.values()) for s in group for token in s}
    start = 0
    for token in doc:
        if token.text == ":" and token.i - start <= LONGEST_HEADING:
            heading = range(start, token.i + 1)
            if doc[start].text[:1].isupper() and inside.isdisjoint(heading):
                yield from heading
        if "\n" in token.text:
            start = token.i + 1


def renamed(doc: Doc, types: dict[str, list[str]]) -> Doc:
    """A doc whose mentions have the types of another corpus: a mention of each that may be meant,
    so that either one is correct."""
    mentions = [
        Span(doc, span.start, span.end, label, span_id=span.id_)
        for span in doc.spans[MENTIONS]
        for label in types.get(span.label_, ())
    ]
    doc.spans[MENTIONS] = mentions
    doc.set_ents([], missing=[doc[t.i : t.i + 1] for t in doc if not t.ent_iob])
    return doc


def read_corpus(
    nlp: Language,
    pipe: KnnCalibrator,
    corpus: Path,
    change: str = "",
    most: int | None = None,
    types: dict[str, list[str]] | None = None,
) -> Read:
    """Run a pipeline over a corpus, or so many of its documents."""
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    order = np.random.default_rng(0).permutation(len(docs))[:most]
    docs = [docs[i] for i in sorted(order.tolist())]
    docs = [renamed(doc, types) for doc in docs] if types else docs
    docs = [changed(doc, change) for doc in docs] if change else docs
    examples = []
    for doc in docs:
        spaces = [bool(token.whitespace_) for token in doc]
        plain = Doc(nlp.vocab, words=[token.text for token in doc], spaces=spaces)
        examples.append(Example(plain if change else nlp.make_doc(doc.text), doc))
    return with_neighbors(pipe, examples)


def with_neighbors(pipe: KnnCalibrator, examples: list[Example]) -> Read:
    """Read documents, with the neighbours of their tokens."""
    held_out = pipe.read_held_out(examples)
    return Read(held_out, pipe.calibrator.neighbors(held_out.logits[held_out.seen]))


def measure_target(source: Source, read: Read, plan: Row) -> Row:
    """All figures of a target."""
    held_out = source.measure(source.held_out, source.maps)
    now = source.measure(read, source.maps)
    types = source.calibrator.fitted_datastore().labels
    comparison = compare(source.reference, now.rows, types)
    rng = np.random.default_rng(0)
    size = min(plan["batch"], len(now.rows))
    flagged = [
        compare(source.reference, now.rows[rng.choice(len(now.rows), size, replace=False)], types)
        for _ in range(plan["batches"])
    ]
    shift = prior_shift(source.reference, now.rows)
    expected = expit(logit(now.confidence) + shift)
    if source.judged is None:
        expected = np.array(expected_accuracy(source.reference, now.rows))
    estimates = {
        "confidence": float(now.confidence.mean()),
        "above_threshold": above_threshold(held_out, now),
        "difference_of_confidences": difference_of_confidences(held_out, now),
        "corrected": float(expected.mean()),
    }
    return {
        "documents": read.n_documents,
        "mentions": len(now.correct),
        "accuracy": float(now.correct.mean()),
        "held_out": {  # of the same types
            "accuracy": float(held_out.correct.mean()),
            "confidence": float(held_out.confidence.mean()),
        },
        "f1": now.f1 if source.judged is None else None,
        "ece": ece(now.confidence, now.correct),
        "p_value": comparison.p_value,
        "flagged": float(np.mean([one.unlike for one in flagged])),
        "differences": [[one.feature, one.z] for one in comparison.differences[:5]],
        "estimates": estimates,
        "unannotated": unannotated(source, read, now, shift),
        "annotated": annotated(source, read, plan) if source.judged is None else [],
    }


def unannotated(source: Source, read: Read, now: Measured, shift: float) -> Row:
    """ECE with confidence that is corrected without annotation."""
    one = source.measure(read, shift_prior(source.maps, shift))
    before = source.measure(source.held_out, source.maps).candidates
    pairs = [np.stack([1 - p, p], axis=-1) for p in (before, now.candidates)]
    old = pairs[0].mean(axis=0)
    new = em_prior(pairs[1], old)
    all_steps = shift_prior(source.maps, float(logit(new[1]) - logit(old[1])))
    calibrator = source.calibrator
    n_tags = calibrator.fitted_datastore().tag_scheme.columns.shape[-1]
    own = mixed(calibrator, source.held_out)[..., :n_tags].mean(axis=0)
    shares = em_prior(mixed(calibrator, read)[..., :n_tags], own)
    columns = calibrator.fitted_datastore().tag_scheme.columns
    before_held_out, new_held_out = source.held_out.held_out, read.held_out
    known = before_held_out.labelled
    scaling = fit_scaling(before_held_out.logits[known][:, columns], before_held_out.tags[known])
    scaled = [scaling(one.logits[one.seen][:, columns]) for one in (before_held_out, new_held_out)]
    scaled_own = scaled[0].mean(axis=0)
    scaled_shares = em_prior(scaled[1], scaled_own)

    def of_tags(p: Probabilities, odds: Floats) -> Probabilities:
        weighted = p[..., :n_tags] * odds
        p = p.copy()
        p[..., :n_tags] = weighted / weighted.sum(axis=-1, keepdims=True)
        return p

    # As if the share that is correct were known: what no change of the prior can better.
    known = brentq(lambda by: expit(logit(now.confidence) + by).mean() - now.correct.mean(), -9, 9)
    ways = {
        "em": (all_steps, None),
        "em_of_tags": (source.maps, partial(of_tags, odds=shares / own)),
        "em_of_scaled": (source.maps, partial(of_tags, odds=scaled_shares / scaled_own)),
    }
    measured = {name: source.measure(read, *way) for name, way in ways.items()}
    return {
        "one_step": ece(one.confidence, one.correct),
        **{name: ece(found.confidence, found.correct) for name, found in measured.items()},
        "known_share": ece(expit(logit(now.confidence) + known), now.correct),
    }


def annotated(source: Source, read: Read, plan: Row) -> list[Row]:
    """ECE and F1 on the other documents with maps that are fitted to a few of them."""
    rows = []
    for n in plan["annotated"]:
        if 2 * n > read.n_documents:
            continue
        figures = []
        for draw in range(plan["draws"]):
            order = np.random.default_rng(draw).permutation(read.n_documents)
            few, others = read.of(order[:n]), read.of(order[n:][: plan["measured"]])
            measured = [
                source.measure(others, maps)
                for maps in (
                    source.maps,
                    source.refitted(few, near=True),
                    source.refitted(few, near=False),
                )
            ]
            figures.append([[ece(one.confidence, one.correct), one.f1] for one in measured])
        mean, worst = np.mean(figures, axis=0), np.max(figures, axis=0)
        names = ("before", "near", "fresh")
        row = {"notes": n, "draws": plan["draws"]}
        for i, name in enumerate(names):
            row[name] = {"ece": mean[i, 0], "worst_ece": worst[i, 0], "f1": mean[i, 1]}
        rows.append(row)
    return rows


def open_source(plan: Row) -> tuple[Language, KnnCalibrator, Source]:
    """Load a pipeline, and fit its maps to its held-out documents."""
    nlp = load_pipeline(plan["pipeline"])
    pipe = find_calibrator(nlp)
    assert pipe is not None
    held_out = read_corpus(nlp, pipe, Path(plan["held_out"]))
    pipe.calibrator.fit_maps(held_out.held_out, held_out.neighbors)
    return nlp, pipe, Source(pipe.calibrator, held_out)


def judged(pipe: KnnCalibrator, types: dict[str, list[str]] | None) -> tuple[int, ...] | None:
    """The places of the types that another corpus has an equal of; None for all."""
    if types is None:
        return None
    own = pipe.calibrator.fitted_datastore().tag_scheme.types
    return tuple(own.index(label) for label in sorted(set().union(*types.values())))


def same_source(folder: Path, plan: Row) -> Row:
    """Batches of the test documents of a fold, beside its development documents."""
    nlp = load_pipeline(str(folder / "pipeline"), exclude=["transformer"])
    nlp.disable_pipe("ner")
    pipe = cast(KnnCalibrator, nlp.add_pipe("knn_calibrator", config=SETTINGS))

    def examples(name: str) -> list[Example]:
        docs = read_docs(folder / f"{name}-logits.spacy", nlp.vocab)
        references = read_docs(folder / f"{name}.spacy", nlp.vocab)
        return list(map(Example, docs, references))

    pipe.fit(examples("train"))
    held_out = with_neighbors(pipe, examples("dev"))
    pipe.calibrator.fit_maps(held_out.held_out, held_out.neighbors)
    source = Source(pipe.calibrator, held_out)
    rows = source.measure(with_neighbors(pipe, examples("test")), source.maps).rows
    rng, types = np.random.default_rng(0), pipe.calibrator.fitted_datastore().labels
    draw = partial(rng.choice, len(rows), plan["batch"], replace=False)
    flags = [compare(source.reference, rows[draw()], types).p_value for _ in range(plan["batches"])]
    return {"p_values": flags, "all": compare(source.reference, rows, types).p_value}


def ordered(targets: dict[str, Row]) -> Row:
    """How well each estimate orders the targets of a source by their accuracy."""
    accuracy = [row["accuracy"] for row in targets.values()]
    names = next(iter(targets.values()))["estimates"]
    return {
        name: float(spearmanr([row["estimates"][name] for row in targets.values()], accuracy)[0])
        for name in names
    }


def main(plan: Row, output: Path) -> None:
    """Measure all that is there and not yet in the output, and write it after each target."""
    result: Row = {name: plan[name] for name in ("batch", "batches", "draws")}
    result |= {"sources": {}, "folds": {}}
    if output.is_file():
        result |= json.loads(output.read_text("utf-8"))

    def save() -> None:
        output.write_text(json.dumps(rounded(result), indent=1) + "\n", encoding="utf-8")

    for folder in sorted(Path(plan["cells"]).glob("*/test-logits.spacy")):
        if folder.parent.name not in result["folds"]:
            result["folds"][folder.parent.name] = same_source(folder.parent, plan)
            save()
    for name, of_source in plan["sources"].items():
        known = result["sources"].setdefault(name, {"targets": {}})["targets"]
        left = [target for target in of_source["targets"] if target not in known]
        if not left or not Path(of_source["pipeline"]).exists():
            continue
        nlp, pipe, source = open_source(of_source)
        for target in left:
            corpus = of_source["targets"][target]
            path, change = Path(corpus["corpus"]), corpus.get("change", "")
            types = corpus.get("types")
            read = read_corpus(nlp, pipe, path, change, plan["documents"], types)
            known[target] = measure_target(replace(source, judged=judged(pipe, types)), read, plan)
            result["sources"][name]["rank_correlation"] = ordered(known)
            save()
            sys.stdout.write(f"{name}, {target}\n")
            sys.stdout.flush()


def rounded(value: Any) -> Any:
    """Floats with four digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(float(value), 4) if isinstance(value, float) else value


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(srsly.read_yaml(sys.argv[1]), Path(sys.argv[2]))
