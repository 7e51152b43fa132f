"""From the windows of docs to wordpieces, and which of them each token is made of."""

from collections.abc import Sequence
from typing import Any, cast

from spacy.tokens import Span
from spacy_transformers.align import get_alignment_via_offset_mapping
from spacy_transformers.data_classes import WordpieceBatch
from thinc.types import Ints2d, Ragged
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from spacy_btl.models.alignment import readable, trim_offsets
from spacy_btl.models.windows import TOKENIZING


def tokenize_windows(
    windows: Sequence[Span],
    tokenizer: PreTrainedTokenizerFast,
    *,
    limit: int,
    with_types: bool,
) -> tuple[WordpieceBatch, Ragged]:
    """Tokenize windows as spacy-transformers does, but cut an overlong token.

    spacy-transformers pads every window to that token's length first, which can take gigabytes.

    limit (int): How many wordpieces the encoder reads at most.
    with_types (bool): Whether the encoder reads token types, if the tokenizer has them.
    RETURNS (Tuple[WordpieceBatch, Ragged]): The wordpieces of each window, and those of each token.
    """
    texts = [readable(window.text) for window in windows]
    settings: dict[str, Any] = {
        "truncation": True,
        "return_attention_mask": True,
        "return_offsets_mapping": True,
        "return_tensors": "np",
        "return_token_type_ids": None if with_types else False,  # None: if the tokenizer has them
    }
    with TOKENIZING:
        encoding = tokenizer(texts, padding="longest", max_length=limit, **settings)
        if not encoding["input_ids"].size:  # no special tokens, and nothing else that it knows
            encoding = tokenizer(texts, padding="max_length", max_length=1, **settings)
    encoding["input_texts"] = [
        tokenizer.convert_ids_to_tokens(ids) for ids in encoding["input_ids"]
    ]
    encoding["pad_token"] = tokenizer.pad_token
    offsets = [
        trim_offsets(in_window, text)
        for in_window, text in zip(encoding["offset_mapping"], texts, strict=True)
    ]
    # The library's annotation names one array; it wants one for each window.
    align = get_alignment_via_offset_mapping(list(windows), cast(Ints2d, offsets))
    return WordpieceBatch.from_batch_encoding(encoding), align
