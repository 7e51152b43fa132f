"""What a browser tab remembers between two drawings of the page, in `st.session_state`.

text (str), name (Union[str, int])
    The note in the text field, and its id.
notes (List[Note]), position (int)
    The notes of a file or folder, and which of them is shown.
read (OpenNote)
    The note that the pipeline has read.
corrections (Dict[Tuple[Union[str, int], str], List[Correction]])
    Of each note, by its id and text.
opened (Dict[Union[str, int], Reviewed])
    The notes to download.
chosen (Place), selection (Optional[Tuple[int, int]])
    The entity that is looked at, and the characters that are selected.
"""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from spacy_btl.errors import PageError
from spacy_btl.notes.entities import Entity
from spacy_btl.notes.notes import Note
from spacy_btl.web.corrections import Correction, added, place_of, retyped
from spacy_btl.web.session import OpenNote, read_file

EXAMPLE = """\
A 58-year-old retired bus driver came with a three-week history of progressive breathlessness \
and a dry cough.
He has type 2 diabetes and takes metformin 500 mg orally twice daily. His father died of a stroke.
No fever. On examination there were fine crackles at both lung bases and mild ankle oedema.
Chest radiograph on 3 March: a round 2 cm nodule in the left upper lobe. CRP 14 mg/L, \
haemoglobin 11.2 g/dL.
He was given furosemide 40 mg IV and improved within two days.
"""
TYPED = "note"  # the id of a note that is typed
MAX_NAME = 50  # characters of an id that is a file's name: file systems limit the bytes


def begin(notes: Sequence[Note]) -> None:
    """Set what is not set yet: the first of some notes, or the fictional one."""
    state = st.session_state
    state.setdefault("name", TYPED)
    state.setdefault("corrections", {})
    state.setdefault("opened", {})
    state.setdefault("selection", None)
    if "notes" not in state:
        state["notes"] = list(notes)
        if notes:
            go(0)
    state.setdefault("text", EXAMPLE)


def go(position: int) -> None:
    """Show another one of the notes."""
    state = st.session_state
    note = state["notes"][position]
    state["position"] = position
    state["text"], state["name"] = note.text or "", note.id
    state["selection"] = None


def type_note() -> None:
    """The note in the text field is another one now."""
    st.session_state["name"] = TYPED
    st.session_state["selection"] = None


def open_files() -> None:
    """Show the first of the files that were opened."""
    state = st.session_state
    notes: dict[str, Note] = {}
    try:
        for file in state["files"]:
            name = Path(file.name).stem[:MAX_NAME]
            if name in notes:
                name = f"{name}-{len(notes) + 1}"
            notes[name] = Note(name, read_file(file.getvalue(), file.name), file.name)
    except PageError as error:
        state["problem"] = str(error)
        return
    if notes:
        state["notes"], state["opened"] = list(notes.values()), {}
        go(0)


def read() -> OpenNote | None:
    """The note in the text field, if the pipeline has read it."""
    state = st.session_state
    note: OpenNote | None = state.get("read")
    shown = (state["text"], state["name"])
    return note if note is not None and (note.note.text, note.note.id) == shown else None


def is_listed() -> bool:
    """Whether the note that is shown is one of the notes, and was not changed by typing."""
    state = st.session_state
    return bool(state["notes"]) and state["name"] == state["notes"][state["position"]].id


def choose_one_of(entities: Sequence[Entity]) -> None:
    """Look at the first of some entities, if the chosen one is not among them."""
    places = list(map(place_of, entities))
    if places and st.session_state.get("chosen") not in places:
        st.session_state["chosen"] = places[0]


def corrections() -> list[Correction]:
    """Those of the note that is shown."""
    state = st.session_state
    found: list[Correction] = state["corrections"].get((state["name"], state["text"]), [])
    return found


def is_meant(entity: Entity) -> bool:
    """Whether an entity is the reader's, and not the pipeline's."""
    return any(one.meant == entity for one in corrections())


def correct(entity: Entity, label: str | None) -> None:
    """Give an entity another type, or delete it: None."""
    _replace(retyped(corrections(), entity, label))
    if label is not None:
        st.session_state["chosen"] = place_of(entity._replace(label=label))


def add(note: OpenNote, label: str) -> None:
    """Add the words that are selected as an entity."""
    state = st.session_state
    start, end = state["selection"]
    span = note.span(start, end, label)
    place = (span.start_char, span.end_char)
    entity = Entity(note.note.id, *place, span.text, label, None)
    _replace(added(corrections(), entity))
    state["chosen"], state["selection"] = place_of(entity), None


def undo(number: int) -> None:
    """Drop a correction."""
    _replace([one for i, one in enumerate(corrections()) if i != number])


def _replace(new: list[Correction]) -> None:
    state = st.session_state
    state["corrections"][state["name"], state["text"]] = new
