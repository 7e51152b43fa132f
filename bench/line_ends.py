r"""What wrapping notes costs: what is found in a corpus as it is, and wrapped at a width.

Wrapping puts line ends in the place of blanks, so no offset moves. Beside the decoding as it is
stands one by which every line end ends an entity, and beside the network's tags those of the
annotation ("perfect tags"), which a decoding should give back.

    python -m bench.line_ends training/maccrobat-atl/model-best corpus/maccrobat/test.spacy \
        bench/results/line_ends.json --lists corpus/chia.spacy
"""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.files import write_file
from spacy_btl.lines import LINE_END, SAME_LINE, read_lines
from spacy_btl.metrics.scorer import score_ner
from spacy_btl.pipelines import load_pipeline
from spacy_btl.tags import MISSING, O_TAG, TagScheme

FIGURES = ("ents_p", "ents_r", "ents_f", "tag_uar", "tag_macro_f")


def wrap(text: str, width: int) -> str:
    """The text with line ends in the place of blanks, so that lines have at most so many characters
    where their words let them."""
    wrapped = list(text)
    start = blank = 0
    for i, character in enumerate([*text, "\n"]):
        if character in " \n" and i - start > width and blank > start:
            wrapped[blank] = "\n"
            start = blank + 1
        if character == "\n":
            start = i + 1
        if character in " \n":
            blank = i
    return "".join(wrapped)


def rewritten(nlp: Language, gold: Doc, text: str) -> Doc:
    """Gold on another text of the same offsets."""
    doc = nlp.make_doc(text)
    doc.ents = [doc.char_span(e.start_char, e.end_char, label=e.label_) for e in gold.ents]
    return doc


def over_line_end(span: Span) -> bool:
    """Whether a mention runs over the end of a line."""
    return LINE_END.search(span.text) is not None


def cut_at_line_ends(doc: Doc) -> Doc:
    """A copy of a doc, its entities cut at every line end."""
    words, breaks, _ = read_lines(doc)
    begins = words[breaks > SAME_LINE].tolist()
    copy = doc.copy()
    spans = []
    for ent in doc.ents:
        borders = [ent.start, *(i for i in begins if ent.start < i < ent.end), ent.end]
        for start, end in pairwise(borders):
            last = end - 1
            while doc[last].is_space:
                last -= 1
            spans.append(Span(copy, start, last + 1, label=ent.label))
    copy.set_ents(spans, default="outside")
    return copy


def perfect(gold: Doc, scheme: TagScheme) -> Doc:
    """A copy of gold with the entities that its own tags make."""
    copy = gold.copy()
    tags = scheme.encode(Example(copy, gold))
    tags[tags == MISSING] = O_TAG
    lines = read_lines(copy)
    copy.set_ents(scheme.decode(copy, tags[lines.words], lines), default="outside")
    return copy


def figures(found: Iterable[Doc], gold: Iterable[Doc]) -> dict[str, dict[str, float]]:
    """The figures of entities as they are found, and as they are if every line end ends one."""
    pairs = list(zip(found, gold, strict=True))
    decodings = {
        "entities go on over line ends": [Example(doc, reference) for doc, reference in pairs],
        "every line end ends an entity": [
            Example(cut_at_line_ends(doc), reference) for doc, reference in pairs
        ],
    }
    return {
        name: {key: scores[key] for key in FIGURES}
        for name, examples in decodings.items()
        for scores in [score_ner(examples)]
    }


def measure(corpus: Path, width: int, nlp: Language, *, network: bool) -> dict[str, object]:
    """All figures of a corpus.

    network (bool): Whether the pipeline finds entities.
    """
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    scheme = TagScheme(sorted({ent.label_ for doc in docs for ent in doc.ents}))
    texts = {
        "as it is": [doc.text for doc in docs],
        f"wrapped at {width} characters": [wrap(doc.text, width) for doc in docs],
    }
    results: dict[str, object] = {
        "documents": len(docs),
        "mentions": sum(len(doc.ents) for doc in docs),
    }
    for name, of_docs in texts.items():
        gold = [rewritten(nlp, *pair) for pair in zip(docs, of_docs, strict=True)]
        results[name] = {
            "mentions over a line end": sum(over_line_end(e) for doc in gold for e in doc.ents),
            "perfect tags": figures([perfect(doc, scheme) for doc in gold], gold),
            **({"network": figures(nlp.pipe(of_docs), gold)} if network else {}),
        }
    return results


def main(
    model: str, corpus: Path, output: Path, lists: Path | None = None, width: int = 72
) -> None:
    """Measure MODEL on CORPUS, and perfect tags on a corpus of lists."""
    nlp = load_pipeline(model)
    results = {"network": measure(corpus, width, nlp, network=True)}
    if lists is not None:
        results["lists"] = measure(lists, width, spacy.blank("en"), network=False)
    write_file(output, (json.dumps(results, indent=2) + "\n").encode("utf-8"))
    typer.echo(json.dumps(results, indent=2))


if __name__ == "__main__":
    typer.run(main)
