"""The script of the page, with its controls. `btl visualize` runs it with Streamlit."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.decisions import Tau
from spacy_btl.errors import BtlError, PageError, counted
from spacy_btl.pipeline.annotations import confidence
from spacy_btl.pipeline.explanation import read_fitted_corpus
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.web import content
from spacy_btl.web.session import (
    OpenNote,
    OpenPipeline,
    caveat,
    chosen_entities,
    open_pipeline,
    read_file,
    read_note,
)

EXAMPLE = """\
A 58-year-old retired bus driver came with a three-week history of progressive breathlessness \
and a dry cough.
He has type 2 diabetes and takes metformin 500 mg orally twice daily. His father died of a stroke.
No fever. On examination there were fine crackles at both lung bases and mild ankle oedema.
Chest radiograph on 3 March: a round 2 cm nodule in the left upper lobe. CRP 14 mg/L, \
haemoglobin 11.2 g/dL.
He was given furosemide 40 mg IV and improved within two days.
"""
PRIVACY = (
    "Notes stay on this machine. The page is served on 127.0.0.1 only, writes nothing to disk, "
    "logs no text and loads nothing from the internet. Notes are in memory until it is stopped. "
    "Not a medical device: for research use, with results checked by a person."
)
TAU_HELP = (
    "Shifts decisions: the label of a token is argmax(log p - tau * log prior). Values above 0 "
    "favour rare types, values below 0 common ones."
)
FAR = (
    "The words of this note are far from all that the pipeline was calibrated for. Do not rely on "
    "the confidence of what it finds here."
)
MAX_NAME = 50  # characters of a download's name: file systems limit the bytes
MIN_CONFIDENCE_HELP = (
    "Hides entities with a lower confidence. Entities of other pipes have none and are shown."
)
PERCENT = {
    name: st.column_config.NumberColumn(format="percent")
    for name in ("weight", "precision", "recall", "F1")
}
CONFIDENCE = {
    "confidence": st.column_config.ProgressColumn(format="%.2f", min_value=0.0, max_value=1.0)
}


def show(model: str, metrics: str = "", corpus: str = "") -> None:
    """Draw the page.

    model (str): A pipeline: a package name or a folder.
    metrics (str): The `metrics.json` of its evaluation, or empty.
    corpus (str): The .spacy file that the calibrator was fitted to, or empty.
    """
    st.set_page_config("spacy-btl", layout="wide")
    st.title("Entities of a note", anchor=False)
    try:
        pipeline = open_pipeline(model)
        _show_note(pipeline, corpus)
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


def _show_note(pipeline: OpenPipeline, corpus: str) -> None:
    note = _note(pipeline)
    if pipeline.missing:
        st.info(pipeline.missing)
    for promise in pipeline.promises:
        st.caption(f"Promised, with the pipeline's own tau and no minimum confidence: {promise}.")
    if note.far:
        st.warning(FAR)
    ents = _choose(pipeline, note)
    st.html(content.legend(ents, pipeline.labels) or "No entities with these settings.")
    with st.container(border=True):
        st.html(content.marked(note.doc.text, ents, pipeline.labels))
    _downloads(pipeline, note, ents)
    if not ents:
        return
    noun = "mention" if pipeline.keys else "entity"
    with st.expander(f"Table of {counted(len(ents), noun)}"):
        st.dataframe(content.entity_rows(ents), column_config=CONFIDENCE, hide_index=True)
    ent = _select(ents)
    if pipeline.pipe is not None:
        _explain(pipeline, pipeline.pipe, ent, corpus)


def _note(pipeline: OpenPipeline) -> OpenNote:
    """Run the pipeline over the note in the text field, once."""
    state = st.session_state
    state.setdefault("text", EXAMPLE)
    with st.expander("The note", expanded=True):
        st.text_area(
            "Paste a note, or open a file below. This one is fictional.",
            key="text",
            height=180,
            on_change=_type_note,
        )
        st.file_uploader("Open a text file", type=["txt"], key="file", on_change=_open_file)
        st.button("Find entities", type="primary")
    if problem := state.pop("problem", None):
        st.error(problem)
    read = state.get("read")
    if read is None or read[0] != state["text"]:
        state.pop("read", None)
        with st.spinner("Reading the note"):
            note = read_note(pipeline, state["text"], state.get("name", "note"))
        read = state["read"] = (state["text"], note)
    return read[1]


def _type_note() -> None:
    """Forget the name of the file that was opened before."""
    st.session_state["name"] = "note"


def _open_file() -> None:
    """Put an opened file into the text field."""
    state, file = st.session_state, st.session_state["file"]
    if file is None:
        return
    try:
        state["text"] = read_file(file.getvalue())
        state["name"] = Path(file.name).stem[:MAX_NAME]
    except PageError as error:
        state["problem"] = str(error)


def _choose(pipeline: OpenPipeline, note: OpenNote) -> list[Span]:
    """Draw the controls, and select entities with them."""
    calibrator = None if pipeline.pipe is None else pipeline.pipe.calibrator
    tau: Tau | None = None
    min_confidence = 0.0
    has_confidence = calibrator is not None or bool(pipeline.keys)
    columns = st.columns(1 + has_confidence + (calibrator is not None))
    if calibrator is not None:
        tau = _tau(calibrator, columns[0])
    if has_confidence:
        min_confidence = columns[-2].slider(
            "Minimum confidence",
            0.0,
            1.0,
            0.0,
            0.01,
            help=MIN_CONFIDENCE_HELP,
            key="min_confidence",
        )
    labels = columns[-1].multiselect(
        "Types", pipeline.labels, placeholder="All types", key="labels"
    )
    if calibrator is not None and tau is not None and (warning := caveat(calibrator, tau)):
        st.caption(warning)
    return chosen_entities(pipeline, note, tau=tau, min_confidence=min_confidence, labels=labels)


def _tau(calibrator: Calibrator, column: Any) -> Tau:
    own = calibrator.settings.tau
    per_type = isinstance(own, dict)
    start = 0.0 if isinstance(own, dict) else float(own)
    low, high = min(-0.5, start), max(1.5, start)
    if per_type and column.checkbox("Use the pipeline's tau of each type", value=True):
        return own
    label = "tau: towards rare types"
    return column.slider(label, low, high, start, 0.05, help=TAU_HELP, key="tau")


def _downloads(pipeline: OpenPipeline, note: OpenNote, ents: Sequence[Span]) -> None:
    with st.container(horizontal=True):
        for label, ending, mime, make in (
            ("Download JSON", "json", "application/json", content.as_json),
            ("Download brat", "ann", "text/plain", content.as_brat),
        ):
            file = f"{note.name}.{ending}"
            data = make(pipeline, note, ents)
            st.download_button(label, data, file, mime, on_click="ignore")


def _select(ents: Sequence[Span]) -> Span:
    """Select an entity from a list. Shows its confidence, and what overlaps it."""
    places = {(ent.start_char, ent.end_char, ent.label_): ent for ent in ents}
    options = list(places)
    before = st.session_state.get("chosen")
    index = options.index(before) if before in options else 0
    place = st.selectbox(
        "Select one to look at it", options, index, format_func=lambda place: _name(places[place])
    )
    st.session_state["chosen"] = place
    chosen = places[place]
    value = confidence(chosen)
    facts = ["No confidence" if value is None else f"Confidence {value:.2f}"]
    if others := content.overlapping(chosen, ents):
        facts.append("overlaps " + "; ".join(map(_name, others)))
    st.text(", ".join(facts))
    return chosen


def _explain(pipeline: OpenPipeline, pipe: KnnCalibrator, ent: Span, corpus: str) -> None:
    """Show the neighbours of an entity."""
    st.subheader("Why this label?", anchor=False)
    try:
        with pipeline.lock:
            explanations = pipe.explain(ent)
        docs = _fitted_corpus(corpus, pipeline.nlp.vocab, pipe.calibrator) if corpus else None
    except BtlError as error:
        st.info(str(error))
        return
    weights = ", ".join(
        f"{label} {share:.0%}" for label, share in content.vote_shares(explanations)
    )
    st.text(f"Neighbour weights: {weights}")
    st.dataframe(content.neighbor_rows(explanations, docs), column_config=PERCENT, hide_index=True)
    settings = pipe.calibrator.settings
    st.caption(
        f"The heaviest of the {settings.n_neighbors} neighbours of each token. `document` is the "
        "number of the document in the corpus that the calibrator was fitted to. Probabilities are "
        f"{settings.knn_weight:.0%} neighbour weights and {1 - settings.knn_weight:.0%} the "
        "network's softmax."
    )


def _name(ent: Span) -> str:
    value = confidence(ent)
    figure = "" if value is None else f", {value:.2f}"
    return f"{' '.join(ent.text.split())}: {ent.label_}{figure} ({ent.start_char}-{ent.end_char})"


@st.cache_resource(show_spinner=False)
def _fitted_corpus(corpus: str, _vocab: Vocab, _calibrator: Calibrator) -> list[Doc]:
    """Read the corpus once: Streamlit ignores arguments with a leading _ in the cache key."""
    return read_fitted_corpus(Path(corpus), _vocab, _calibrator.neighbor_rows())


if __name__ == "__main__":
    show(*sys.argv[1:])
