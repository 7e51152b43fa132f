"""Which words of a note are headings, by the form of its lines."""

import re
from collections.abc import Iterator

# Titles that are headings in any case at the start of a line, and in capitals whatever follows.
USUAL = """
abdomen; addendum; admission date; admission diagnoses; admission diagnosis; admission
medications; allergies; anesthesia; assessment; assessment and plan; back; cardiac;
cardiovascular; cc; chest; chief complaint; clinical history; cns; complications; condition at
discharge; constitutional; consultants; consultation; current medications; description of
procedure; details of procedure; diagnoses; diagnosis; diagnostic data; diet; discharge
condition; discharge date; discharge diagnoses; discharge diagnosis; discharge instructions;
discharge medications; disposition; ears; emergency department course; estimated blood loss;
exam; examination; extremities; eyes; family history; family medical history; fhx; findings;
follow up; follow-up; gait; gastrointestinal; general; genitourinary; gross description; habits;
head; heart; heent; history; history and physical; history of present illness; history of
presenting complaint; home medications; hospital course; hpi; imaging; impression; impression
and plan; impressions; indication; indication for procedure; indications; interim history;
interpretation; investigations; lab; lab results; laboratory; laboratory data; laboratory
findings; laboratory studies; labs; lungs; lymphatics; medical history; medications; medications
on admission; meds; mental status; mental status examination; musculoskeletal; neck; neuro;
neurologic; neurological; neurological examination; nose; objective; operation; operation
performed; operative findings; operative report; past history; past medical history; past
psychiatric history; past surgical history; pathology; pe; personal history; pex; physical exam;
physical examination; plan; pmh; postoperative diagnoses; postoperative diagnosis; preoperative
diagnoses; preoperative diagnosis; presenting complaint; procedure; procedure in detail;
procedure performed; procedures; prognosis; psh; psychiatric; radiology; reason for admission;
reason for consultation; reason for visit; recommendation; recommendations; respiratory;
results; review of systems; ros; shx; skin; social history; specimen; specimens; studies;
subjective; substance abuse history; summary; surgical history; technique; treatment; vital
signs; vitals
"""
TITLES = frozenset(" ".join(title.split()) for title in USUAL.split(";"))
LETTERS = 5  # of a title in capitals, at least, which is not usual: "BP: 120/80" is no heading
MOST_CAPITALS = 0.6  # of the letters of a note: beyond, capitals mark nothing

END = r"[\n\r\v\f\x85\u2028\u2029]"  # of a line
# The start of a line; or behind a comma that stands for a lost line end: "normal.,Neck: supple".
LINE_START = rf"(?:^|(?<={END})|(?<=[.:;)],))[ \t#*•-]*"
# Words and runs of signs are bounded, or begun once: a long run of either must not cost a square.
CAPITALS = r"[A-Z][A-Z0-9'’&/()-]{0,39}(?: +[A-Z0-9'’&/()-]{1,40}){0,7}"
SIGN = r"(?:(?<=[.;:)])[ ,]*|(?<![ ,]) *,[ ,]*)"
# In capitals, with a colon: at the start of a line, or behind a sign where line ends were lost.
WITH_COLON = re.compile(rf"(?:{LINE_START}|{SIGN})({CAPITALS}) *:")
# In capitals, and alone in its line.
ALONE = re.compile(rf"{LINE_START}({CAPITALS}) *(?={END}|$)")
# Of any case, at the start of a line, with a colon or alone.
TITLED = re.compile(rf"{LINE_START}([A-Za-z][A-Za-z-]*(?: +[A-Za-z-]+){{0,4}}) *(?::|(?={END}|$))")
VALUE = re.compile(r"[ ,]*[-+<>~]?\d(?!\d?[.)]\s)")  # and no number of an item in a list


def headings(text: str) -> list[tuple[int, int]]:
    """The characters of the headings of a note, end exclusive, without colons.

    A heading is a title in capitals before a colon or alone in its line, or a usual one at the
    start of a line. The name of a measured value ("WEIGHT: 81 kg") is none. In a note that is in
    capitals as a whole only usual titles count.
    """
    found = {*_usual(text), *(() if _in_capitals(text) else _capitals(text))}
    kept: list[tuple[int, int]] = []
    for start, end in sorted(found, key=lambda place: (place[0], -place[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def title(text: str) -> str:
    """A heading in lower case, with single spaces."""
    return " ".join(text.lower().split())


def title_of_tokens(text: str) -> str:
    """The title in the tokens of a heading, which have more than it where a tokenizer leaves signs
    and words on it: "normal.,NECK"."""
    text = f"{text.lstrip(' .,;:)')}:"
    found = [*_usual(text), *(match.span(1) for match in WITH_COLON.finditer(text))]
    start, end = max(found, key=lambda place: (place[1], -place[0]), default=(0, len(text) - 1))
    return title(text[start:end])


def _usual(text: str) -> Iterator[tuple[int, int]]:
    for match in (*TITLED.finditer(text), *WITH_COLON.finditer(text)):
        if title(match[1]) in TITLES:
            yield match.span(1)


def _capitals(text: str) -> Iterator[tuple[int, int]]:
    for match in (*WITH_COLON.finditer(text), *ALONE.finditer(text)):
        letters = sum(map(str.isalpha, match[1]))
        if letters >= LETTERS and not VALUE.match(text, match.end()):
            yield match.span(1)


def _in_capitals(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(map(str.isupper, letters)) > MOST_CAPITALS * len(letters)
