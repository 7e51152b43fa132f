"""Compare the logits of a pipeline and a token classifier on sample text."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy_transformers.layers.transformer_model import TransformerModel
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.classifier import Checkpoint, errors_of_transformers
from spacy_btl.models.shim import shim_of
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.pipeline.logits import pipes_from

NEVER = -1e4  # the logit of a tag that the checkpoint does not have
TOLERANCE = 1e-4

# Accents in one character and in two, several scripts, digits, symbols, spaces of several kinds,
# words of many wordpieces.
SAMPLE = (
    "The patient, a 67-year-old woman, was admitted on 03/14/2019 with fever (38.9 °C) and cough.",
    "Pseudopseudohypoparathyroidism and hepatosplenomegaly WERE ruled out; CRP: 84.5 mg/L, <0.01%.",
    "Le patient présente une fièvre élevée, traitée à l'hôpital; Ana\u0301lisis: 12,5 µg/mL ≥ ½.",
    "Größe 1,80 m; Übelkeit – keine. Пациент жалуется на боль; ο ασθενής. 患者发烧38度。 発熱なし",
    "A dose of  5\u2009mg\u00a0daily,\t“as needed”… O2-sat 96%→98%, β-blocker™ 🙂 x\u200by.\nNone",
)
VOCABULARY_SAMPLE = 48  # wordpieces


def check_logits(
    nlp: Language,
    ner: str,
    encoder: TransformerModel,
    checkpoint: Checkpoint,
    ids: Sequence[int | None],
    where: str,
) -> None:
    """Compare the logits of a pipeline's tokens with those that a checkpoint has for them.

    ner (str): The pipe whose logits they are.
    encoder (TransformerModel): The encoder of that pipe.
    ids (Sequence[Optional[int]]): For each tag of the pipe, the id of its label; None for one that
        the checkpoint does not have, whose logit is `NEVER`.
    where (str): What to name in an error.
    RAISES: PipelineError, where one differs by more than `TOLERANCE`.
    """
    kind = checkpoint.classifier.config.model_type
    with errors_of_transformers(where, f"an encoder of the kind {kind} does not run here"):
        texts = _texts(nlp, encoder, checkpoint.tokenizer)
        docs = list(nlp.pipe(texts, disable=pipes_from(nlp, ner)[1:]))
        expected = [_expected(checkpoint, doc, ids) for doc in docs]
    ours = np.concatenate([doc._.get(LOGITS) for doc in docs])
    theirs = np.concatenate(expected)
    difference = float(np.abs(ours - theirs).max())
    if not difference <= TOLERANCE:  # a NaN too
        raise PipelineError(
            f"{where}: a pipeline and a token classifier of the kind {kind} do not have the same "
            f"logits here, they differ by {difference:.2g} on sample text, so nothing was written."
        )


def _texts(
    nlp: Language, encoder: TransformerModel, tokenizer: PreTrainedTokenizerFast
) -> list[str]:
    """Sample text in pieces that fit the windows of the encoder: the fixed one, and wordpieces from
    all over the vocabulary, since a tokenizer may know no word of ours."""
    ids = np.linspace(0, len(tokenizer) - 1, VOCABULARY_SAMPLE).astype(int).tolist()
    known = " ".join(tokenizer.decode([number], skip_special_tokens=True) for number in ids)
    docs = [nlp.make_doc(text) for text in (*SAMPLE, known)]
    texts = [window.text for doc in docs for window in _windows(encoder, doc)]
    return [text for text in texts if len(_windows(encoder, nlp.make_doc(text))) == 1]


def _windows(encoder: TransformerModel, doc: Doc) -> list[Span]:
    tokenizer = shim_of(encoder.layers[0]).wordpieces
    (borders,) = encoder.attrs["get_spans"]([doc], tokenizer.read([doc]), tokenizer).borders
    return [doc[start:end] for start, end in borders]


def _expected(checkpoint: Checkpoint, doc: Doc, ids: Sequence[int | None]) -> NDArray[np.float32]:
    """The checkpoint's logits of a doc's tokens, in the order of our tags: float32 [T, C]. A token
    without a wordpiece has zeros."""
    pieces, offsets = _wordpiece_logits(checkpoint, doc.text)
    logits = np.zeros((len(doc), len(ids)), dtype="float32")
    known = [place for place, number in enumerate(ids) if number is not None]
    labels = [number for number in ids if number is not None]
    for token in doc:
        rows = [
            row
            for row, (start, end) in enumerate(offsets)
            if max(start, token.idx) < min(end, token.idx + len(token))
        ]
        if rows:
            logits[token.i] = NEVER
            logits[token.i, known] = pieces[rows].mean(axis=0)[labels]
    return logits


def _wordpiece_logits(
    checkpoint: Checkpoint, text: str
) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """The logits of a text's wordpieces, and which characters each is of, white space at its ends
    left out."""
    encoding = checkpoint.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    offsets = []
    for start, end in encoding.pop("offset_mapping")[0].tolist():
        piece = text[start:end]
        offsets.append((end - len(piece.lstrip()), start + len(piece.rstrip())))
    with torch.inference_mode():
        logits = checkpoint.classifier(**encoding).logits[0]
    return logits.numpy(), offsets
