"""Adam in Keras' form: its first step, and that a loss that is not finite changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from wmrun.nn.optimizer import Adam

OPTIONS = {"lr": 0.1, "eps": 1e-5, "clip": 100.0, "weight_decay": 0.0}


def test_first_step_is_lr_times_sign_up_to_eps() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    gradient = torch.tensor([2.0, -3.0, 1e-4])
    Adam([("p", parameter)], **OPTIONS).apply([gradient])
    # m = 0.1 g, sqrt(v) = sqrt(0.001)·|g|, lr_1 = lr·sqrt(0.001)/0.1
    root = math.sqrt(0.001)
    expected = [1 - 0.1 * root * g / (root * abs(g) + 1e-5) for g in gradient.tolist()]
    assert parameter.tolist() == pytest.approx(expected, abs=1e-6)


def test_decay_shrinks_every_parameter_whatever_the_learning_rate() -> None:
    for lr in (1e-3, 1e-1):
        parameter = nn.Parameter(torch.tensor([4.0]))
        adam = Adam([("p", parameter)], **(OPTIONS | {"lr": lr, "weight_decay": 0.25}))
        adam.apply([torch.zeros(1)])
        assert parameter.item() == pytest.approx(3.0)


def test_reports_the_norm_before_clipping() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    adam = Adam([("a", a), ("b", b)], **(OPTIONS | {"clip": 1.0}))
    norm = adam.apply([torch.tensor([30.0]), torch.tensor([40.0])])
    assert norm.item() == pytest.approx(50.0)
    moments = adam.save()
    assert moments["m.a"].item() == pytest.approx(0.1 * 30 / 50)
    assert moments["m.b"].item() == pytest.approx(0.1 * 40 / 50)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_nothing_changes_by_a_loss_that_is_not_finite(poison: float) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    adam = Adam([("p", parameter)], **(OPTIONS | {"weight_decay": 0.1}))
    adam.step((parameter * torch.tensor([3.0, 4.0])).sum())
    before, moments = parameter.tolist(), _moments(adam)
    norm = adam.step((parameter * torch.tensor([3.0, poison])).sum())
    assert not math.isfinite(norm.item())
    assert parameter.tolist() == before
    assert _moments(adam) == moments


def test_finite_gradient_of_an_infinite_loss_changes_nothing() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    adam = Adam([("p", parameter)], **OPTIONS)
    adam.step(parameter.sum() + math.inf)
    assert parameter.item() == 1.0


def test_parameters_that_the_loss_does_not_reach_only_decay() -> None:
    used, unused = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))
    adam = Adam([("used", used), ("unused", unused)], **(OPTIONS | {"weight_decay": 0.5}))
    adam.step(used.sum())
    assert unused.item() == 0.5
    assert used.item() < 0.5


def test_gradients_in_another_memory_layout_reach_the_right_weights() -> None:
    gradient = torch.arange(24.0).reshape(1, 2, 3, 4) + 1
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        parameter = nn.Parameter(torch.zeros(1, 2, 3, 4))
        adam = Adam([("p", parameter)], **(OPTIONS | {"clip": 0.0}))
        adam.apply([gradient.contiguous(memory_format=memory_format)])
        found.append(adam.save()["m.p"])
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found[0], 0.1 * gradient)


def test_save_and_load_continue_the_same_trajectory() -> None:
    gradients = [torch.tensor([1.0]), torch.tensor([-2.0]), torch.tensor([0.5])]
    whole, first, second = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    _run(Adam([("p", whole)], **OPTIONS), gradients)
    adam = Adam([("p", first)], **OPTIONS)
    _run(adam, gradients[:2])
    second.data.copy_(first.data)
    resumed = Adam([("p", second)], **OPTIONS)
    resumed.load(adam.save())
    _run(resumed, gradients[2:])
    assert second.item() == whole.item()


def _run(adam: Adam, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        adam.apply([gradient])


def _moments(adam: Adam) -> dict[str, list[float]]:
    return {name: t.tolist() for name, t in adam.save().items() if name != "steps"}
