"""The other side of the ratios: the same encoder in plain torch, and nothing around it.

Windows here have no overlap, and next to no padding: the floor of what the encoder costs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModel, PreTrainedTokenizerFast

DROPOUT = 0.1
# What transformers logs, once, about padding in a step of its own; here windows are cut between.
PAD_AFTERWARDS = "Asking-to-pad-a-fast-tokenizer"


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Torch in that precision; float32 is as it is."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def bare_passes(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, window: int, per_pass: int
) -> list[torch.Tensor]:
    """All wordpieces of the notes end to end, cut into full windows: no padding and no overlap.

    RETURNS (List[int64 [per_pass, window]]): The last one may be smaller.
    """
    room = window - tokenizer.num_special_tokens_to_add()
    ids = [number for text in texts for number in _wordpieces(text, tokenizer)[0]]
    cut = [ids[start : start + room] for start in range(0, len(ids), room)]
    full = torch.tensor([tokenizer.build_inputs_with_special_tokens(part) for part in cut[:-1]])
    rest = torch.tensor([tokenizer.build_inputs_with_special_tokens(cut[-1])])
    return [*(full.split(per_pass) if len(full) else ()), rest]


def run_bare(encoder: torch.nn.Module, passes: Sequence[torch.Tensor], dtype: torch.dtype) -> None:
    """The encoder over all passes, for nothing."""
    device = next(encoder.parameters()).device
    encoder.eval()
    with torch.inference_mode(), autocast(dtype, device):
        for ids in passes:
            encoder(input_ids=ids.to(device))


@dataclass(frozen=True)
class Batch:
    """Notes as torch wants them, in a few passes of windows of like length.

    ids, mask (List[int64 [W, L]]): Wordpieces of the windows, and which of them are real.
    tokens (int64 [P]): The token of each real wordpiece, in the order of the passes; P for all.
    places (int64 [P]): Where it is in the windows of all passes, laid end to end.
    tags (int64 [T]): Gold tags; -100 has no loss.
    """

    ids: list[torch.Tensor]
    mask: list[torch.Tensor]
    tokens: torch.Tensor
    places: torch.Tensor
    tags: torch.Tensor


def make_batch(
    notes: Sequence[tuple[str, Sequence[int], NDArray[np.integer]]],
    tokenizer: PreTrainedTokenizerFast,
    window: int,
) -> Batch:
    """Cut notes into windows without overlap; full windows make a pass, and shorter ones another.

    notes (Sequence[Tuple]): Text, first character of each token and tag of each token.
    """
    tokenizer.deprecation_warnings[PAD_AFTERWARDS] = True
    room = window - tokenizer.num_special_tokens_to_add()
    windows: list[tuple[list[int], NDArray[np.integer]]] = []
    before = 0
    for text, starts, tags in notes:
        ids, offsets = _wordpieces(text, tokenizer)
        tokens = before + np.searchsorted(starts, offsets, side="right") - 1
        windows += [
            (ids[start : start + room], tokens[start : start + room])
            for start in range(0, len(ids), room)
        ]
        before += len(tags)
    full = [part for part in windows if len(part[0]) == room]
    rest = sorted((part for part in windows if len(part[0]) < room), key=lambda part: len(part[0]))
    passes, masks, owners, places = [], [], [], []
    laid = 0
    for group in filter(None, (full, rest)):
        batch = tokenizer.pad(
            {"input_ids": [tokenizer.build_inputs_with_special_tokens(part) for part, _ in group]},
            return_tensors="pt",
        )
        passes.append(batch["input_ids"])
        masks.append(batch["attention_mask"])
        width = batch["input_ids"].shape[1]
        for number, (_, own) in enumerate(group):
            owners.append(own)
            places.append(laid + number * width + 1 + np.arange(len(own)))  # behind [CLS]
        laid += len(group) * width
    return Batch(
        ids=passes,
        mask=masks,
        tokens=torch.from_numpy(np.concatenate(owners)),
        places=torch.from_numpy(np.concatenate(places)),
        tags=torch.from_numpy(np.concatenate([tags for *_, tags in notes]).astype("int64")),
    )


def _wordpieces(text: str, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Ids, and the first character of each."""
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoding["input_ids"], [start for start, _ in encoding["offset_mapping"]]


def make_step(
    encoder: str, n_tags: int, dtype: torch.dtype, device: torch.device, config: dict
) -> Callable[[Batch], None]:
    """A training step as one writes it: cross-entropy of token vectors, clipping, AdamW."""
    torch.manual_seed(0)
    model = AutoModel.from_pretrained(encoder, **config).to(device).train()
    head = torch.nn.Linear(model.config.hidden_size, n_tags).to(device)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.01)

    def hidden(batch: Batch) -> Iterator[torch.Tensor]:
        for ids, mask in zip(batch.ids, batch.mask, strict=True):
            output = model(input_ids=ids.to(device), attention_mask=mask.to(device))
            yield output.last_hidden_state.float().flatten(0, 1)

    def step(batch: Batch) -> None:
        with autocast(dtype, device):
            laid = torch.cat(list(hidden(batch)))
        tokens, tags = batch.tokens.to(device), batch.tags.to(device)
        vectors = laid.new_zeros(len(tags), laid.shape[1])
        vectors = vectors.index_add(0, tokens, laid[batch.places.to(device)])
        vectors = vectors / tokens.bincount(minlength=len(tags)).clamp(min=1)[:, None]
        logits = head(functional.dropout(vectors, DROPOUT))
        functional.cross_entropy(logits, tags).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step
