"""The script of the page. `btl visualize` runs it with Streamlit."""

import sys
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from spacy_btl.errors import BtlError, PageError, counted
from spacy_btl.notes.entities import Entity
from spacy_btl.web import content, state
from spacy_btl.web.corrections import corrected
from spacy_btl.web.export import WRITERS, Reviewed, download
from spacy_btl.web.panel import PERCENT, draw_entity, draw_selection
from spacy_btl.web.session import (
    OpenNote,
    OpenPipeline,
    decided,
    listed_notes,
    open_pipeline,
    read_note,
    shown,
)
from spacy_btl.web.sidebar import draw_choice, draw_note

PRIVACY = (
    "Notes stay on this machine. The page is served on 127.0.0.1 only, writes nothing to disk, "
    "logs no text and loads nothing from the internet. Notes and corrections are in memory until "
    "it is stopped. Not a medical device: for research use, with results checked by a person."
)
FAR = (
    "The words of this note are far from all that the pipeline was calibrated for. Do not rely on "
    "the confidence of what it finds here."
)
MARKS = (
    "The paler a mark, the lower its confidence; under 0.5 it is dashed. Select words to add an "
    "entity."
)
CONFIDENCE = {
    "confidence": st.column_config.ProgressColumn(format="%.2f", min_value=0.0, max_value=1.0)
}
SIDEBAR = 340  # pixels
HERE = Path(__file__).parent
STYLE = f"<style>{(HERE / 'page.css').read_text('utf-8')}</style>"
note_marks = st.components.v2.component(
    "spacy_btl.note",
    css=(HERE / "note.css").read_text("utf-8"),
    js=(HERE / "note.js").read_text("utf-8"),
    isolate_styles=False,
)


def show(
    model: str,
    metrics: str = "",
    corpus: str = "",
    notes: str = "",
    text_column: str = "text",
    id_column: str = "id",
) -> None:
    """Draw the page.

    model (str): A pipeline: a package name or a folder.
    metrics (str): The `metrics.json` of its evaluation, or empty.
    corpus (str): The .spacy file that the calibrator was fitted to, or empty.
    notes (str): A file or folder of notes, or empty.
    text_column, id_column (str): Columns of the notes, or keys of JSON lines.
    """
    st.set_page_config("spacy-btl", layout="wide", initial_sidebar_state=SIDEBAR)
    st.html(STYLE)
    try:
        pipeline = open_pipeline(model)
        state.begin(listed_notes(Path(notes), text_column, id_column) if notes else ())
        _draw(pipeline, corpus)
        if metrics:
            with st.expander("Evaluation by type"):
                st.dataframe(
                    content.read_metrics(Path(metrics), pipeline),
                    column_config=PERCENT,
                    hide_index=True,
                )
    except BtlError as error:
        st.error(str(error))
    # Streamlit would log the message, which may quote the note.
    except Exception as error:  # noqa: BLE001
        st.error(f"The page failed: {type(error).__name__}.")
    st.caption(PRIVACY)


def _draw(pipeline: OpenPipeline, corpus: str) -> None:
    with st.sidebar:
        draw_note()
        choice = draw_choice(pipeline)
    st.title("Entities of a note", anchor=False)
    if st.session_state["notes"]:
        _draw_position()
    if problem := st.session_state.pop("problem", None):
        raise PageError(problem)
    note = state.read()
    if note is not None:
        results = st.container()  # in its place, so that the browser keeps what does not change
    else:
        place = st.empty()  # the results of another note go at once
        with place, st.spinner("Reading the note"):
            note = _read(pipeline)
        results = place.container()
    with results:
        for warning in filter(None, (pipeline.missing, FAR if note.far else "")):
            st.warning(warning)
        found = decided(pipeline, note, choice.tau)
        entities, hidden = shown(
            corrected(found, state.corrections()),
            min_confidence=choice.min_confidence,
            labels=choice.labels,
        )
        st.session_state["opened"][note.note.id] = Reviewed(note.note, entities)
        state.choose_one_of(entities)
        left, right = st.columns([8, 5], gap="medium")
        with left:
            _draw_text(pipeline, note, entities, hidden)
        with right.container(key="panel"):
            if st.session_state["selection"] is not None:
                draw_selection(pipeline, note)
            if entities:
                draw_entity(pipeline, note, entities, corpus)
        _draw_below(pipeline, entities)


def _draw_position() -> None:
    """Which of the notes is shown, and the way to the next."""
    notes, position = st.session_state["notes"], st.session_state["position"]
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, step in (("Previous", -1), ("Next", 1)):
            there = position + step
            outside = not 0 <= there < len(notes)
            st.button(label, on_click=state.go, args=(there,), disabled=outside)
        which = f"Note {position + 1:,} of {len(notes):,}: {notes[position].id}"
        st.text(which if state.is_listed() else "A note that was typed")


def _read(pipeline: OpenPipeline) -> OpenNote:
    """Run the pipeline over the note in the text field."""
    st.session_state.pop("read", None)
    note = read_note(pipeline, st.session_state["text"], st.session_state["name"])
    st.session_state["read"] = note
    return note


def _draw_text(
    pipeline: OpenPipeline, note: OpenNote, entities: Sequence[Entity], hidden: int
) -> None:
    noun = "mention" if pipeline.keys else "entity"
    facts = [counted(len(entities), noun), f"{hidden} hidden by the minimum confidence"]
    with st.container(border=True):
        chosen = st.session_state["chosen"] if entities else ()
        note_marks(
            key="marks",
            data={
                "html": content.marked(str(note.note.text), entities, pipeline.labels),
                "text": note.note.text,
                "chosen": " ".join(map(str, chosen)),
            },
            on_pressed_change=_press,
            on_selected_change=lambda: _select(note),
        )
    st.caption(f"{', '.join(facts[: 1 + bool(hidden)])}. {MARKS}")
    st.html(content.legend(entities, pipeline.labels) or "No entities with these settings.")
    for number, one in enumerate(state.corrections()):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(content.described(one))
            st.button("Undo", key=f"undo {number}", on_click=state.undo, args=(number,))


def _press() -> None:
    start, end, label = st.session_state["marks"]["pressed"].split(" ", 2)
    st.session_state["chosen"] = (int(start), int(end), label)


def _select(note: OpenNote) -> None:
    start, end = map(int, st.session_state["marks"]["selected"].split())
    has_words = str(note.note.text)[start:end].strip()
    st.session_state["selection"] = (start, end) if has_words else None


def _draw_below(pipeline: OpenPipeline, entities: Sequence[Entity]) -> None:
    """The downloads and the table."""
    opened = st.session_state["opened"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Format", list(WRITERS), width=180, key="format")
        file = download(name, pipeline, list(opened.values()))
        label = f"Download {name}" + (f" of {len(opened)} opened notes" if len(opened) > 1 else "")
        st.download_button(
            label, file.data, f"entities.{file.ending}", file.mime, on_click="ignore"
        )
    for promise in pipeline.promises:
        st.caption(f"Promised, with the pipeline's own tau and no minimum confidence: {promise}.")
    if entities:
        with st.expander(
            f"Table of {counted(len(entities), 'mention' if pipeline.keys else 'entity')}"
        ):
            st.dataframe(content.entity_rows(entities), column_config=CONFIDENCE, hide_index=True)


if __name__ == "__main__":
    show(*sys.argv[1:])
