"""How well libraries tell what a note says of its mentions, with the annotated mentions given.

    python experiments/assertions.py btl_context

writes the counts of a library on the demo corpus into experiments/results/assertions.json, and
keeps those of the others. Each needs an environment of its own beside spacy-btl:

- btl_context, negspacy and negspacy_sensitive: pip install negspacy;
- medspacy: pip install --no-deps medspacy PyRuSH PyFastNER quicksectx pysbd medspacy_quickumls, and
  pip install six nltk unidecode medspacy-unqlite pysimstring loguru;
- edsnlp: pip install edsnlp.

The notes are counted in two halves, every other note in the order of their names. The terms of
btl_context were changed by its errors on the "first", and not by those on the "second". Neither
half is unseen: who wrote the terms had annotated all notes, and had read the errors of negspacy and
medspacy on all of them.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.context.assertions import KINDS, assertions
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.formats.convert import convert
from spacy_btl.mentions import MENTIONS

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "assets" / "demo"
RESULTS = ROOT / "experiments" / "results" / "assertions.json"
TYPES = (
    "Sign_symptom",
    "Disease_disorder",
    "Medication",
    "Diagnostic_procedure",
    "Therapeutic_procedure",
    "Clinical_event",
)
HALVES = ("first", "second")
# What ends a sentence, for those that need a pipe for it: line ends too, as in the notes.
SENTENCES = {"punct_chars": [".", "!", "?", "\n", "\n\n"]}

Said = Callable[[Span], set[str]]


def btl_context() -> tuple[Language, Said, str]:
    """Ours."""
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_context", config={"spans_keys": [MENTIONS]})

    def said(span: Span) -> set[str]:
        found = assertions(span)
        return set() if found is None else set(found.kinds)

    return nlp, said, "negspacy"


def negspacy(terms: str = "en_clinical") -> tuple[Language, Said, str]:
    """negspacy, with one of its own sets of terms."""
    from negspacy.negation import Negex  # noqa: F401  (registers the pipe)
    from negspacy.termsets import termset

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config=SENTENCES)
    config = {"neg_termset": termset(terms).get_patterns(), "span_keys": [MENTIONS]}
    nlp.add_pipe("negex", config=config)
    return nlp, lambda span: {"negated"} if span._.negex else set(), "negspacy"


def medspacy() -> tuple[Language, Said, str]:
    """The ConText of medspaCy with its own rules."""
    import medspacy.context  # noqa: F401  (registers the pipe)

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config=SENTENCES)
    config = {"input_span_type": "group", "span_group_name": MENTIONS}
    nlp.add_pipe("medspacy_context", config=config)
    names = {kind: "is_family" if kind == "other" else f"is_{kind}" for kind in KINDS}
    return nlp, lambda span: {kind for kind in KINDS if span._.get(names[kind])}, "medspacy"


def edsnlp() -> tuple[Language, Said, str]:
    """The qualifiers of EDS-NLP with their own terms, which are French."""
    import edsnlp as package

    nlp = package.blank("eds")
    nlp.add_pipe("eds.sentences")
    names = {"negated": "negation", "uncertain": "hypothesis", "historical": "history"}
    names["other"] = "family"
    for name in names.values():
        nlp.add_pipe(f"eds.{name}", config={"span_getter": MENTIONS})
    return nlp, lambda span: {kind for kind in names if span._.get(names[kind])}, "edsnlp"


LIBRARIES: dict[str, Callable[[], tuple[Language, Said, str]]] = {
    "btl_context": btl_context,
    "negspacy": negspacy,
    "negspacy_sensitive": lambda: negspacy("en_clinical_sensitive"),
    "medspacy": medspacy,
    "edsnlp": edsnlp,
}


def gold(folder: Path) -> list[Doc]:
    """The annotated notes, in the order of their names."""
    convert(DEMO, folder / "demo.spacy", types=TYPES)
    return read_docs(folder / "demo.spacy", spacy.blank("en").vocab)


def count(docs: list[Doc], nlp: Language, said: Said) -> dict[str, dict[str, list[int]]]:
    """True positives, false positives and false negatives, of each half and assertion."""
    counts = {half: {kind: [0, 0, 0] for kind in KINDS} for half in HALVES}
    for number, annotated in enumerate(docs):
        doc = nlp.make_doc(annotated.text)
        doc.spans[MENTIONS] = [
            doc.char_span(*place, label=span.label_, alignment_mode="expand")
            for span in annotated.spans[MENTIONS]
            for place in [(span.start_char, span.end_char)]
        ]
        for _, pipe in nlp.pipeline:
            doc = pipe(doc)
        for span, copy in zip(annotated.spans[MENTIONS], doc.spans[MENTIONS], strict=True):
            annotation = assertions(span)
            true, found = set(annotation.kinds if annotation else ()), said(copy)
            for column, kinds in enumerate((true & found, found - true, true - found)):
                for kind in kinds:
                    counts[HALVES[number % 2]][kind][column] += 1
    return counts


def main(library: str) -> None:
    """Count one library, and write it to the results."""
    nlp, said, package = LIBRARIES[library]()
    with tempfile.TemporaryDirectory() as folder:
        docs = gold(Path(folder))
    results: dict[str, Any] = srsly.read_json(RESULTS) if RESULTS.is_file() else {}
    results["mentions"] = sum(len(doc.spans[MENTIONS]) for doc in docs)
    results.setdefault("libraries", {})[library] = {
        "package": package,
        "version": version(package),
        "counts": count(docs, nlp, said),
    }
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
