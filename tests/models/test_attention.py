"""Attention as two products and a softmax, held against torch's own."""

import pytest
import torch
from torch.nn import functional

from spacy_btl.models import passes
from spacy_btl.models.attention import PlainAttention, attention
from tests.conftest import bert_pipeline, make_examples, step

SHAPE = (3, 2, 7, 8)  # windows, heads, wordpieces, dimensions


def tensors(dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(SHAPE, dtype=dtype, requires_grad=True) for _ in range(3)]


def masks():
    allowed = torch.ones(3, 1, 1, 7, dtype=torch.bool)
    allowed[1, :, :, 4:] = False
    added = torch.zeros(3, 1, 1, 7).masked_fill(~allowed, torch.finfo(torch.float32).min)
    return {"none": None, "bool": allowed, "float": added}


def results(function, mask, dtype=torch.float32, **settings):
    inputs = tensors(dtype)
    output = function(*inputs, attn_mask=mask, **settings)
    output.sum(dim=-1).square().sum().backward()
    return [output.detach(), *(one.grad for one in inputs)]


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("scale", [None, 0.3])
def test_output_and_gradients_are_those_of_torch(mask, scale):
    ours = results(attention, masks()[mask], scale=scale)
    torchs = results(functional.scaled_dot_product_attention, masks()[mask], scale=scale)
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mask", masks())
def test_in_bfloat16_they_differ_by_rounding(mask):
    ours = results(attention, masks()[mask], torch.bfloat16)
    exact = results(functional.scaled_dot_product_attention, masks()[mask])
    for one, other in zip(ours, exact, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - other).abs().max() < 0.03 * other.abs().max()


def test_a_window_without_anything_to_attend_to_stays_finite():
    for mask in (torch.zeros(3, 1, 1, 7, dtype=torch.bool), torch.full((3, 1, 1, 7), -3.4e38)):
        for dtype in (torch.float32, torch.bfloat16):
            assert all(one.isfinite().all() for one in results(attention, mask, dtype))


def test_what_it_does_not_know_is_left_to_torch():
    with PlainAttention():
        ours = results(functional.scaled_dot_product_attention, None, is_causal=True)
    torchs = results(functional.scaled_dot_product_attention, None, is_causal=True)
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other)


def test_attention_drops_out():
    ours = attention(*tensors(), dropout_p=0.5)
    assert not torch.allclose(ours, attention(*tensors()))


@pytest.mark.parametrize("mixed_precision", [True, False])
def test_training_in_bfloat16_uses_it_and_nothing_else_does(
    mixed_precision, tiny_bert, monkeypatch
):
    calls = []

    class Counted(PlainAttention):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is functional.scaled_dot_product_attention:
                calls.append(args[0].dtype)
            return super().__torch_function__(func, types, args, kwargs)

    monkeypatch.setattr(passes, "PlainAttention", Counted)
    monkeypatch.setattr(passes, "cpu_has_bfloat16", lambda: True)
    nlp = bert_pipeline(tiny_bert, encoder={"mixed_precision": mixed_precision})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    assert not calls
    step(nlp, make_examples(nlp), optimizer)
    assert set(calls) == ({torch.bfloat16} if mixed_precision else set())
    n_calls = len(calls)
    nlp("severe fever")
    assert len(calls) == n_calls
