"""The arithmetic floor: every matrix product and convolution is counted, by hand-computed sizes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wmrun.bench.floor import Floor, count_operations, product_rate


class HandWritten(torch.autograd.Function):
    """x·w, with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, w = ctx.saved_tensors
        return grad @ w.T, x.T @ grad


@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.inference_mode])
def test_a_layer_counts_two_operations_per_weight_and_row(context):
    layer = nn.Linear(5, 7)
    x = torch.ones(2, 3, 5)
    with context():
        assert count_operations(lambda: layer(x)) == {torch.float32: 2 * (2 * 3) * 5 * 7}


def test_the_backward_pass_counts_one_product_for_the_weights_and_one_for_the_input():
    layer = nn.Linear(5, 7)
    x = torch.ones(6, 5, requires_grad=True)
    forward = 2 * 6 * 5 * 7
    assert count_operations(lambda: layer(x).sum().backward()) == {torch.float32: 3 * forward}


def test_products_inside_a_hand_written_backward_pass_count():
    x, w = torch.ones(6, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    operations = count_operations(lambda: HandWritten.apply(x, w).sum().backward())
    assert operations == {torch.float32: 3 * 2 * 6 * 5 * 7}


def test_block_diagonal_products_count_their_blocks_only():
    x, w = torch.ones(6, 8, 4), torch.ones(8, 4, 3)
    operations = count_operations(lambda: torch.einsum("ngi,gio->ngo", x, w))
    assert operations == {torch.float32: 2 * 6 * 8 * 4 * 3}


def test_a_convolution_counts_every_tap_of_every_output():
    conv = nn.Conv2d(3, 8, kernel_size=4, stride=2, bias=False)
    images = torch.ones(2, 3, 64, 64)  # 31 x 31 outputs
    operations = count_operations(lambda: conv(images))
    assert operations == {torch.float32: 2 * 2 * 8 * 31 * 31 * 3 * 4 * 4}


def test_operations_are_kept_apart_by_dtype():
    a, b = torch.ones(2, 3), torch.ones(3, 4)
    operations = count_operations(lambda: (a @ b, a.double() @ b.double(), a + 1))
    assert operations == {torch.float32: 48, torch.float64: 48}


def test_the_floor_adds_up_what_each_dtype_takes():
    floor = Floor({torch.float32: 60, torch.bfloat16: 400}, {torch.float32: 20, torch.bfloat16: 80})
    assert floor.seconds == 3 + 5
    assert floor.total_operations == 460


def test_the_rate_of_products_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wmrun.bench.floor._SIZES", {"cpu": (4, 8)})
    monkeypatch.setattr("wmrun.bench.floor._seconds", lambda a, b: {4: 1e-3, 8: 4e-3}[len(a)])
    assert product_rate(torch.device("cpu"), torch.float32) == pytest.approx(2 * 8**3 / 4e-3)
