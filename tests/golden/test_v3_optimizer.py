"""optim.npz of Dreamer V3: clipping, scaling, momentum and warm-up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.golden.archives import Archive, archive, close
from wmrun.nn.laprop import LaProp

NAMES = ["matrix", "bias", "zero_matrix", "block", "small"]
STEPS = 6
SETTINGS: dict[str, dict[str, Any]] = {
    "config": {"lr": 4e-5, "warmup": 1000},
    "fast": {"lr": 1e-2, "warmup": 3},
    "nowarm": {"lr": 1e-2, "warmup": 0},
}


@pytest.fixture(scope="module")
def data() -> Archive:
    return archive("v3/optim")


@pytest.mark.parametrize("setting", SETTINGS)
def test_updates(data: Archive, setting: str) -> None:
    # Parameters in float64, whose differences are the updates.
    parameters = _parameters(data, torch.float64)
    optimizer = _laprop(parameters, **SETTINGS[setting])
    for step in range(STEPS):
        before = [p.detach().clone() for p in parameters.values()]
        optimizer.apply([gradient.double() for gradient in _gradients(data, step)])
        for (name, after), old in zip(parameters.items(), before, strict=True):
            update = data[f"{setting}/u/{name}"][step]
            close(after - old, update, 3e-5 * SETTINGS[setting]["lr"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_parameters(data: Archive, setting: str) -> None:
    parameters = _parameters(data, torch.float32)
    optimizer = _laprop(parameters, **SETTINGS[setting])
    for step in range(STEPS):
        gradients = _gradients(data, step)
        norm = optimizer.apply(gradients)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.testing.assert_close(norm, flat.norm())
        for name, parameter in parameters.items():
            official = data[f"{setting}/p/{name}"][step]
            close(parameter, official, 1e-6)


@pytest.mark.parametrize("step", range(STEPS))
def test_clipped_gradients(data: Archive, step: int) -> None:
    # With beta2 = 0 the average of the squares is the square of the clipped gradient.
    optimizer = _laprop(_parameters(data, torch.float32), lr=1.0, warmup=1, beta2=0.0)
    gradients = _gradients(data, step)
    optimizer.apply(gradients)
    state = optimizer.save()
    for name, gradient in zip(NAMES, gradients, strict=True):
        clipped = state[f"square.{name}"].sqrt() * gradient.sign()
        close(clipped, data[f"agc/{name}"][step], relative=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_learning_rates(data: Archive, setting: str) -> None:
    # A gradient that stays the same is scaled to 1.
    number = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = _laprop({"number": number}, agc=0.0, **SETTINGS[setting])
    for lr in data[f"{setting}/lr"]:
        before = float(number.detach())
        optimizer.apply([torch.ones_like(number)])
        close(before - float(number.detach()), lr, relative=1e-5)


def _parameters(data: Archive, dtype: torch.dtype) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(data.tensor(f"p0/{name}").to(dtype)) for name in NAMES}


def _gradients(data: Archive, step: int) -> list[Tensor]:
    return [data.tensor(f"g/{name}")[step] for name in NAMES]


def _laprop(parameters: dict[str, nn.Parameter], **options: Any) -> LaProp:
    defaults = {"agc": 0.3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-20}
    return LaProp(parameters.items(), **(defaults | options))
