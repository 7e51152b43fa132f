"""What `btl_sections` takes for headings: in transcribed notes, and in annotated corpora.

    python experiments/sections.py PIPELINE NOTES.jsonl DEMO.spacy corpus/maccrobat/all.spacy \
        experiments/results/sections.json

    python experiments/sections.py read NOTES.jsonl

The second prints what was judged, for another reader. NOTES are those of MTSamples, with `text`;
DEMO.spacy is the converted demo corpus. The result holds no text.
"""

import json
import random
import re
import sys
from pathlib import Path

import spacy
from spacy.vocab import Vocab

from spacy_btl.context.headings import headings
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.mentions import MENTIONS
from spacy_btl.notes.entities import mentions_of, spans_keys

SEED, BEFORE, NOTES, TAGGED = 7, 200, 200, 60
PHRASE = re.compile(r"[A-Za-z][A-Za-z /&-]{2,50}:")
# By one reader, of the notes behind those that the rules were written with: marked headings that
# are headings, and phrases before a colon that are not marked and are headings, of those drawn.
DRAWN_BY = {"marked": 1, "unmarked": 5}  # seeds
JUDGED = {"marked": 150, "marked_right": 150, "unmarked": 100, "unmarked_wrong": 45}


def inside(places: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether characters share one with a heading."""
    return any(start < last and first < end for first, last in places)


def read_texts(notes: Path) -> list[str]:
    """The notes behind those that the rules were written with."""
    texts = [json.loads(line)["text"] for line in notes.open(encoding="utf-8")]
    random.Random(SEED).shuffle(texts)
    return texts[BEFORE : BEFORE + NOTES]


def phrases(texts: list[str]) -> tuple[list[str], list[str]]:
    """The marked headings, in brackets, and other phrases before a colon, each in its context."""
    marked: list[str] = []
    unmarked: list[str] = []
    for text in texts:
        places = headings(text)
        marked += [
            f"{text[max(0, start - 18) : start]}[{text[start:end]}]{text[end:][:25]}"
            for start, end in places
        ]
        unmarked += [
            text[max(0, match.end() - 45) : match.end() + 20]
            for match in PHRASE.finditer(text)
            if not inside(places, match.end() - 2, match.end() - 1)
        ]
    return marked, unmarked


def show(notes: Path) -> None:
    """Print those that were judged."""
    for found, (name, seed) in zip(phrases(read_texts(notes)), DRAWN_BY.items(), strict=True):
        random.Random(seed).shuffle(found)
        sys.stdout.write(f"{name}\n" + "\n".join(found[: JUDGED[name]]) + "\n")


def gold_in_headings(corpus: Path) -> dict[str, int]:
    """How many gold mentions of a corpus share a character with a heading."""
    docs = read_docs(corpus, Vocab())
    places = [headings(doc.text) for doc in docs]
    found = [
        inside(of_doc, span.start_char, span.end_char)
        for of_doc, doc in zip(places, docs, strict=True)
        for span in doc.spans[MENTIONS]
    ]
    return {
        "documents": len(docs),
        "headings": sum(map(len, places)),
        "mentions": len(found),
        "in_headings": sum(found),
    }


def main(pipeline: Path, notes: Path, demo: Path, reports: Path, output: Path) -> None:
    """Count headings, and the entities and gold mentions in them."""
    texts = read_texts(notes)
    nlp = spacy.load(pipeline)
    keys = spans_keys(nlp)
    entities = dropped = 0
    for doc in nlp.pipe(texts[:TAGGED]):
        places = headings(doc.text)
        found = mentions_of(doc, keys)
        entities += len(found)
        dropped += sum(inside(places, span.start_char, span.end_char) for span in found)
    result = {
        "notes": NOTES,
        "line_ends": sum(text.count("\n") for text in texts),
        "headings": sum(len(headings(text)) for text in texts),
        "unmarked": len(phrases(texts)[1]),
        "tagged": {"notes": TAGGED, "entities": entities, "in_headings": dropped},
        "demo_notes": gold_in_headings(demo),
        "case_reports": gold_in_headings(reports),
        "judged": JUDGED,
    }
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "read":
        show(Path(sys.argv[2]))
    else:
        main(*map(Path, sys.argv[1:]))
