"""Attention for training in bfloat16 on the CPU.

torch's fused attention (2.13) is slow there in its backward pass: on processors with AVX-512 and
AMX it takes two to four times as long as the products and the softmax that it stands for, whose
backward pass is of bfloat16 products. In float32, and without a backward pass, it is the faster.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """Within its block, attention is two products and a softmax, all in the inputs' precision."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or what stands for it."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            with torch.autocast("cpu", enabled=False):  # or the softmax would be in float32
                return attention(*args, **kwargs)
        return func(*args, **kwargs)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, as torch documents it.

    query, key, value (float [..., L, E], [..., S, E], [..., S, V]): Of one precision.
    attn_mask (Optional[bool or float [..., L, S]]): What is attended to, or is added to the scores.
    RETURNS (float [..., L, V]): In that precision.
    """
    if is_causal or enable_gqa:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if attn_mask is not None:
        # A row without anything to attend to stays finite.
        least = torch.finfo(scores.dtype).min
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, least)
        else:
            scores = scores + attn_mask.clamp(min=least).to(scores.dtype)
    weights = functional.dropout(scores.softmax(dim=-1), dropout_p)
    return weights @ value
