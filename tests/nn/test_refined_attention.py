from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mner.nn.refined_attention import (
    Refinement,
    SaliencyGate,
    Side,
    refined_attention,
    saliency,
    word_saliency,
)

TEXT, IMAGE, HEADS, WIDTH, WORDS = 7, 4, 3, 8, 5


def drawn(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


class Case:
    """Queries, keys and values of three rows: one whole, one padded, one without a picture."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        tokens = TEXT + IMAGE
        self.query, self.key, self.value = (
            drawn(3, HEADS, tokens, WIDTH, dtype=dtype, seed=seed).requires_grad_() for seed in (1, 2, 3)
        )
        self.label_keys = drawn(HEADS, WORDS, WIDTH, dtype=dtype, seed=4).requires_grad_()
        self.image_gate = drawn(3, IMAGE, dtype=dtype, seed=5).tanh().requires_grad_()
        self.text_gate = drawn(3, TEXT, dtype=dtype, seed=6).tanh().requires_grad_()
        self.image_scale = (10 * drawn(HEADS, dtype=dtype, seed=7)).detach().requires_grad_()
        self.text_scale = (10 * drawn(HEADS, dtype=dtype, seed=8)).detach().requires_grad_()
        self.present = torch.ones(3, tokens, dtype=torch.bool)
        self.present[1, 4:TEXT] = False
        self.present[2, TEXT:] = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (
            self.query, self.key, self.value, self.label_keys, self.image_gate, self.text_gate,
            self.image_scale, self.text_scale,
        )  # fmt: skip

    def refinement(self, image: bool = True, text: bool = True) -> Refinement:
        return Refinement(
            present=self.present,
            text_tokens=TEXT,
            label_keys=self.label_keys,
            image=Side(self.image_gate, self.image_scale) if image else None,
            text=Side(self.text_gate, self.text_scale) if text else None,
        )

    def attend(self, refinement: Refinement) -> Tensor:
        return refined_attention(self.query, self.key, self.value, refinement, WIDTH**-0.5)


def slow(case: Case, image: bool = True, text: bool = True, windows: Tensor | None = None) -> Tensor:
    """Eq. 3, 4 and 6 written out, with a matrix of logits for each row and head."""
    tokens = TEXT + IMAGE
    root = math.sqrt(WIDTH)
    rows = []
    for row in range(3):
        heads = []
        for head in range(HEADS):
            query, key = case.query[row, head], case.key[row, head]
            kinds = (range(TEXT), range(TEXT, tokens))
            salient: dict[int, Tensor] = {}
            for kind in kinds:
                there = [token for token in kind if case.present[row, token]]
                for token in kind:
                    salient[token] = query.new_zeros(())
                if not there:
                    continue
                scores = query[there] @ case.label_keys[head].T / root  # (tokens, words)
                shares = scores.exp() / scores.exp().sum(0)
                salient.update(zip(there, shares.mean(1), strict=True))
            logits = torch.zeros(tokens, tokens, dtype=query.dtype)
            for i in range(tokens):
                for j in range(tokens):
                    product = query[i] @ key[j]
                    if i < TEXT <= j and image:
                        g = case.image_gate[row, j - TEXT]
                        product = (1 - g) * product + g * case.image_scale[head] * salient[j]
                    if j < TEXT <= i and text:
                        g = case.text_gate[row, j]
                        product = (1 - g) * product + g * case.text_scale[head] * salient[j]
                    hidden = not case.present[row, j] or (windows is not None and not windows[i, j])
                    logits[i, j] = -torch.inf if hidden else product / root
            heads.append(logits.softmax(-1) @ case.value[row, head])
        rows.append(torch.stack(heads))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=["float64", "float32"]
)
@pytest.mark.parametrize(("image", "text"), [(True, True), (True, False), (False, True), (False, False)])
def test_equations_3_4_and_6(image: bool, text: bool, dtype: torch.dtype, tolerance: float) -> None:
    case = Case(dtype)
    torch.testing.assert_close(
        case.attend(case.refinement(image, text)), slow(case, image, text), rtol=0, atol=tolerance
    )


def test_gradients_are_those_of_the_equations() -> None:
    case = Case()
    weights = drawn(3, HEADS, TEXT + IMAGE, WIDTH, dtype=torch.float64, seed=9)
    fast = torch.autograd.grad((case.attend(case.refinement()) * weights).sum(), case.tensors)
    explicit = torch.autograd.grad((slow(case) * weights).sum(), case.tensors)
    for got, expected in zip(fast, explicit, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_a_gate_of_zero_is_plain_attention() -> None:
    case = Case(torch.float32)
    with torch.no_grad():
        case.image_gate.zero_()
        case.text_gate.zero_()
    plain = torch.nn.functional.scaled_dot_product_attention(
        case.query, case.key, case.value, attn_mask=case.present[:, None, None]
    )
    torch.testing.assert_close(case.attend(case.refinement()), plain, rtol=0, atol=1e-6)


def test_windows_restrict_who_sees_whom() -> None:
    case = Case()
    tokens = TEXT + IMAGE
    positions = torch.arange(tokens)
    in_picture = positions >= TEXT
    windows = ((positions[:, None] - positions).abs() <= 3) | in_picture | in_picture[:, None]
    for sides in ((True, True), (False, False)):
        refinement = case.refinement(*sides)
        refinement.windows = windows[None, None]
        torch.testing.assert_close(
            case.attend(refinement), slow(case, *sides, windows=windows), rtol=0, atol=1e-12
        )


def test_saliency_differs_between_tokens_sums_to_one_and_ignores_padding() -> None:
    case = Case()
    text = slice(0, TEXT)
    salient = saliency(case.query[:, :, text], case.label_keys, case.present[:, text], WIDTH**-0.5)
    torch.testing.assert_close(salient.sum(-1), torch.ones(3, HEADS, dtype=torch.float64))
    # The known misreading, a softmax over the label words and the mean over them, gives 1 / C throughout.
    assert salient[0].std(-1).min() > 1e-3
    assert salient[1, :, 4:].abs().max() == 0
    alone = saliency(case.query[1:2, :, :4], case.label_keys, case.present[1:2, :4], WIDTH**-0.5)
    torch.testing.assert_close(salient[1:2, :, :4], alone)
    absent = saliency(case.query[:, :, TEXT:], case.label_keys, case.present[:, TEXT:], WIDTH**-0.5)
    assert absent[2].abs().max() == 0


def test_the_order_of_label_words_does_not_matter() -> None:
    case = Case()
    present = case.present[:, :TEXT]
    query = case.query[:, :, :TEXT]
    turned = saliency(query, case.label_keys.flip(1), present, WIDTH**-0.5)
    torch.testing.assert_close(turned, saliency(query, case.label_keys, present, WIDTH**-0.5))
    each = word_saliency(query, case.label_keys, present, WIDTH**-0.5)
    flipped = word_saliency(query, case.label_keys.flip(1), present, WIDTH**-0.5)
    torch.testing.assert_close(each.flip(2), flipped)


def test_hidden_tokens_change_nothing_and_rows_without_any_are_finite() -> None:
    case = Case(torch.float32)
    before = case.attend(case.refinement())
    with torch.no_grad():
        case.key[2, :, TEXT:] = 1e3
        case.value[2, :, TEXT:] = 1e3
        case.key[1, :, 4:TEXT] = -50
    torch.testing.assert_close(case.attend(case.refinement())[1:, :, :4], before[1:, :, :4], rtol=0, atol=0)
    case.present[0] = False
    for sides in ((True, True), (False, False)):
        output = case.attend(case.refinement(*sides))
        assert output.isfinite().all()
        gradients = torch.autograd.grad(output.sum(), case.tensors[:4] if any(sides) else case.tensors[:3])
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("sides", [(True, True), (False, False)])
def test_shown_attention_is_what_is_computed(sides: tuple[bool, bool]) -> None:
    case = Case()
    refinement = case.refinement(*sides)
    refinement.shown = {}
    # With values that are zero but at one cell, text rows receive its weight alone.
    value = torch.zeros_like(case.value)
    value[:, :, TEXT + 1] = 1
    received = refined_attention(case.query, case.key, value, refinement, WIDTH**-0.5)
    torch.testing.assert_close(refinement.shown["image_attention"][..., 1], received[:, :, :TEXT, 0])


def test_queries_are_turned_back_before_they_meet_label_words() -> None:
    case = Case()
    tokens = TEXT + IMAGE
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.03])
    angles = torch.cat((angles, angles), -1)[None].double()
    cosine, sine = angles.cos(), angles.sin()

    def turn(states: Tensor) -> Tensor:
        first, second = states.chunk(2, -1)
        return states * cosine[:, None] + torch.cat((-second, first), -1) * sine[:, None]

    plain, turned = case.refinement(), case.refinement()
    plain.shown, turned.shown = {}, {}
    turned.rotary = (cosine, sine)
    refined_attention(case.query, case.key, case.value, plain, WIDTH**-0.5)
    refined_attention(turn(case.query), turn(case.key), case.value, turned, WIDTH**-0.5)
    for name in ("image_saliency", "text_saliency"):
        torch.testing.assert_close(turned.shown[name], plain.shown[name])


def test_fused_kernels_apply() -> None:
    # Refused here, PyTorch would fall back to making a matrix of tokens by tokens.
    from torch.nn.attention import SDPBackend, sdpa_kernel

    case = Case(torch.float32)
    expected = case.attend(case.refinement())
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        torch.testing.assert_close(case.attend(case.refinement()), expected, rtol=0, atol=1e-5)


def test_a_gate_is_between_minus_one_and_one() -> None:
    torch.manual_seed(0)
    gate = SaliencyGate(6, 4)
    states = 100 * torch.randn(2, 5, 6)
    values = gate(states)
    assert values.shape == (2, 5)
    assert values.abs().max() <= 1
    assert values.std() > 0.1
