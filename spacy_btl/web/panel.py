"""The right side of the page: an entity, its correction, and why it has its type."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.errors import BtlError
from spacy_btl.notes.entities import Entity
from spacy_btl.pipeline.explanation import read_fitted_corpus
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.web import content, state
from spacy_btl.web.corrections import Place, place_of
from spacy_btl.web.session import OpenNote, OpenPipeline

PERCENT = {
    name: st.column_config.NumberColumn(format="percent")
    for name in ("weight", "precision", "recall", "F1")
}


def draw_selection(pipeline: OpenPipeline, note: OpenNote) -> None:
    """Ask for the type of the words that are selected."""
    start, end = st.session_state["selection"]
    span = note.span(start, end, "")
    with st.container(border=True):
        st.html(content.quoted(span.text))
        label = st.selectbox("Add it as", pipeline.labels, key="new_type")
        with st.container(horizontal=True):
            st.button("Add", on_click=state.add, args=(note, label), type="primary")
            st.button("Cancel", on_click=st.session_state.update, args=({"selection": None},))


def draw_entity(
    pipeline: OpenPipeline, note: OpenNote, entities: Sequence[Entity], corpus: str
) -> None:
    """An entity that is pressed in the text or chosen from the list."""
    by_place = {place_of(one): one for one in entities}

    def name(place: Place) -> str:
        return f"{content.named(by_place[place])} ({place[0]}-{place[1]})"

    entity = by_place[
        st.selectbox(
            "Press an entity in the text, or choose it here",
            by_place,
            key="chosen",
            format_func=name,
        )
    ]
    st.html(content.headline(entity, entities, pipeline.labels))
    _draw_correction(pipeline, entity)
    if pipeline.pipe is not None and not state.is_meant(entity):
        _draw_neighbors(pipeline, pipeline.pipe, note, entity, corpus)


def _draw_correction(pipeline: OpenPipeline, entity: Entity) -> None:
    labels = sorted({*pipeline.labels, entity.label})
    key = f"type of {place_of(entity)}"

    def retype() -> None:
        state.correct(entity, st.session_state[key])

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Type", labels, labels.index(entity.label), key=key, on_change=retype)
        st.button("Delete", on_click=state.correct, args=(entity, None))


def _draw_neighbors(
    pipeline: OpenPipeline, pipe: KnnCalibrator, note: OpenNote, entity: Entity, corpus: str
) -> None:
    st.markdown("**Why this type?** The nearest words of the training notes are:")
    try:
        with pipeline.lock:
            explanations = pipe.explain(note.span(*place_of(entity)))
        docs = _fitted_corpus(corpus, pipeline.nlp.vocab, pipe.calibrator) if corpus else None
    except BtlError as error:
        st.info(str(error))
        return
    st.html(content.vote_bars(content.vote_shares(explanations), pipeline.labels))
    settings = pipe.calibrator.settings
    with st.expander("The nearest words"):
        st.dataframe(
            content.neighbor_rows(explanations, docs), column_config=PERCENT, hide_index=True
        )
        st.caption(
            f"The heaviest of the {settings.n_neighbors} neighbours of each token. `document` is "
            "the number of the document in the corpus that the calibrator was fitted to. "
            f"Probabilities are {settings.knn_weight:.0%} neighbour weights and "
            f"{1 - settings.knn_weight:.0%} the network's softmax."
        )


@st.cache_resource(show_spinner=False)
def _fitted_corpus(corpus: str, _vocab: Vocab, _calibrator: Calibrator) -> list[Doc]:
    """Read the corpus once: Streamlit ignores arguments with a leading _ in the cache key."""
    return read_fitted_corpus(Path(corpus), _vocab, _calibrator.neighbor_rows())
