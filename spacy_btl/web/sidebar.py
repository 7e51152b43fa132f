"""The left side of the page: the note, and the settings by which its entities are chosen."""

from typing import NamedTuple

import streamlit as st

from spacy_btl.calibration.decisions import Tau
from spacy_btl.web import state
from spacy_btl.web.session import OpenPipeline, caveat

TAU = {
    False: r"\operatorname{argmax}_c\; \log p_c - \tau \log \pi_c",
    True: r"\log\frac{p}{1-p} - \tau \log\frac{\pi}{1-\pi}",
}
TAU_MEANS = {
    False: "A word gets the type $c$ of the highest score, with its probability $p_c$ and the "
    r"share $\pi_c$ of the type in the words of the training notes. The number is $\tau$.",
    True: "Each type is decided by itself: this is the score of a word, with its probability $p$ "
    r"and the share $\pi$ of the type in the words of the training notes. The number is $\tau$.",
}
TAU_DOES = (
    "Above 0 more mentions of rare types are found, with more false alarms. 0 shifts nothing."
)
MIN_CONFIDENCE_HELP = (
    "Hides entities with a lower confidence. Entities of other pipes have none and are shown."
)


class Choice(NamedTuple):
    """The settings.

    tau (Optional[float | Dict[str, float]]): None without a calibrator.
    labels (List[str]): The types to show; all if empty.
    """

    tau: Tau | None
    min_confidence: float
    labels: list[str]


def draw_note() -> None:
    """The text field, and files."""
    st.text_area(
        "Paste a note, or open text files. This one is fictional."
        if st.session_state["text"] == state.EXAMPLE
        else "Paste a note, or open text files.",
        key="text",
        height=190,
        on_change=state.type_note,
    )
    st.button("Find entities", type="primary", width="stretch")
    st.file_uploader(
        "Text files",
        type=["txt"],
        key="files",
        on_change=state.open_files,
        accept_multiple_files=True,
        label_visibility="collapsed",
    )


def draw_choice(pipeline: OpenPipeline) -> Choice:
    """The settings that the pipeline has."""
    tau = _tau(pipeline)
    min_confidence = 0.0
    if pipeline.pipe is not None or pipeline.keys:
        min_confidence = st.slider(
            "Minimum confidence",
            0.0,
            1.0,
            0.0,
            0.01,
            help=MIN_CONFIDENCE_HELP,
            key="min_confidence",
        )
    labels = st.multiselect("Types", pipeline.labels, placeholder="All types", key="labels")
    return Choice(tau, min_confidence, labels)


def _tau(pipeline: OpenPipeline) -> Tau | None:
    if pipeline.pipe is None:
        return None
    calibrator = pipeline.pipe.calibrator
    own = calibrator.settings.tau
    per_type = isinstance(own, dict)
    start = 0.0 if isinstance(own, dict) else float(own)
    low, high = min(-0.5, start), max(1.5, start)
    tau: Tau = own
    if not per_type or not st.checkbox("Use the pipeline's own sensitivity of each type", True):
        tau = st.slider("Sensitivity to rare types", low, high, start, 0.05, key="tau")
    with st.popover("more", type="tertiary"):
        overlapping = bool(pipeline.keys)
        st.write(TAU_DOES)
        st.latex(TAU[overlapping])
        st.write(TAU_MEANS[overlapping])
    if warning := caveat(calibrator, tau):
        st.caption(warning)
    return tau
