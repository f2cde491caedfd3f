"""LaProp: clipping, warm-up, first steps; a loss that is not finite changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wmrun.nn.laprop import LaProp


def laprop(*parameters: nn.Parameter, **options: Any) -> LaProp:
    defaults = {
        "lr": 0.1,
        "warmup": 0,
        "agc": 0.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-20,
    }
    named = ((f"p{i}", parameter) for i, parameter in enumerate(parameters))
    return LaProp(named, **(defaults | options))


def test_first_step_moves_every_element_by_the_learning_rate() -> None:
    parameter = nn.Parameter(torch.ones(3))
    laprop(parameter).apply([torch.tensor([20.0, -3.0, 1e-8])])
    assert parameter.tolist() == pytest.approx([0.9, 1.1, 0.9])


def test_gradients_that_were_always_zero_move_nothing() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = laprop(parameter)
    for _ in range(3):
        optimizer.apply([torch.tensor([1.0, 0.0])])
    assert parameter[1] == 1


def test_momentum_is_of_gradients_that_are_already_scaled() -> None:
    """Three steps in float64 by the definition."""
    gradients = [2.0, -1.0, 0.5]
    square = momentum = 0.0
    expected = 1.0
    for step, g in enumerate(gradients, start=1):
        square = 0.99 * square + 0.01 * g * g
        momentum = 0.8 * momentum + 0.2 * g / (math.sqrt(square / (1 - 0.99**step)) + 1e-3)
        expected -= 0.1 * momentum / (1 - 0.8**step)
    parameter = nn.Parameter(torch.ones(1))
    optimizer = laprop(parameter, beta1=0.8, beta2=0.99, eps=1e-3)
    for g in gradients:
        optimizer.apply([torch.tensor([g])])
    assert parameter.item() == pytest.approx(expected, abs=1e-6)


def test_learning_rate_rises_linearly_from_zero() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = laprop(parameter, warmup=4)
    sizes = []
    for _ in range(7):
        before = parameter.item()
        optimizer.apply([torch.ones(1)])
        sizes.append(before - parameter.item())
    expected = [0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(sizes, expected, rtol=1e-4, atol=1e-7)


def test_a_gradient_is_clipped_by_the_norm_of_its_own_tensor() -> None:
    large, small, zero = (nn.Parameter(torch.full((4,), x)) for x in (5.0, 0.5, 0.0))
    gradients = [torch.full((4,), g) for g in (1.0, 1.0, 1.0)]
    optimizer = laprop(large, small, zero, agc=0.3, beta2=0.0)
    norm = optimizer.apply(gradients)
    assert norm.item() == pytest.approx(math.sqrt(12))
    # Norms of 10 and 1 allow 3 and 0.3, a norm of 0 counts as 0.001; the gradients' norm is 2.
    clipped = [optimizer.save()[f"square.p{i}"][0].sqrt().item() for i in range(3)]
    assert clipped == pytest.approx([1.0, 0.3 / 2, 0.3e-3 / 2])
    assert gradients[1].tolist() == [1.0] * 4


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_nothing_changes_by_a_loss_that_is_not_finite(poison: float) -> None:
    parameter, other = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.ones(1))
    optimizer = laprop(parameter, other, agc=0.3)
    optimizer.step((parameter * torch.tensor([3.0, 4.0])).sum() + other.sum())
    before, averages = [parameter.tolist(), other.tolist()], _averages(optimizer)
    norm = optimizer.step((parameter * torch.tensor([3.0, poison])).sum() + other.sum())
    assert not math.isfinite(norm.item())
    assert [parameter.tolist(), other.tolist()] == before
    assert _averages(optimizer) == averages


def test_finite_gradient_of_an_infinite_loss_changes_nothing() -> None:
    parameter = nn.Parameter(torch.ones(1))
    laprop(parameter).step(parameter.sum() + math.inf)
    assert parameter.item() == 1.0


def test_one_gradient_shared_by_two_parameters_serves_both() -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(10 * torch.ones(2))
    gradient = torch.ones(2)
    optimizer = laprop(first, second, agc=0.3, beta2=0.0)
    optimizer.apply([gradient, gradient])
    clipped = [optimizer.save()[f"square.p{i}"][0].sqrt().item() for i in range(2)]
    assert clipped == pytest.approx([0.3, 1.0])


def test_gradients_in_another_memory_layout_reach_the_right_weights() -> None:
    gradient = torch.arange(24.0).reshape(1, 2, 3, 4) - 12
    parameter = nn.Parameter(torch.zeros(1, 2, 3, 4))
    laprop(parameter).apply([gradient.contiguous(memory_format=torch.channels_last)])
    np.testing.assert_allclose(parameter.detach(), -0.1 * gradient.sign(), atol=1e-6)


def test_save_and_load_continue_the_same_trajectory() -> None:
    gradients = [torch.tensor([x]) for x in (1.0, -2.0, 0.5)]
    whole, first, second = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    _run(laprop(whole, warmup=5), gradients)
    optimizer = laprop(first, warmup=5)
    _run(optimizer, gradients[:2])
    second.data.copy_(first.data)
    resumed = laprop(second, warmup=5)
    resumed.load(optimizer.save())
    _run(resumed, gradients[2:])
    assert second.item() == whole.item()


def _run(optimizer: LaProp, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        optimizer.apply([gradient])


def _averages(optimizer: LaProp) -> dict[str, list[float]]:
    return {name: t.tolist() for name, t in optimizer.save().items() if name != "steps"}
