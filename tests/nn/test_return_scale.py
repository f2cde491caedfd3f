"""The range of returns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wmrun.nn.return_scale import ReturnScale


def test_small_returns_are_not_blown_up() -> None:
    assert ReturnScale(rate=0.01)(torch.tensor([0.0, 0.1])).item() == 1.0


def test_percentiles_are_averaged_from_zero_and_used_at_once() -> None:
    returns = torch.randn(16, 15, generator=torch.Generator().manual_seed(0)) * 1000
    scale, low, high = ReturnScale(rate=0.01), 0.0, 0.0
    for batch in (returns, 3 * returns):
        low += 0.01 * (np.quantile(batch.double(), 0.05) - low)
        high += 0.01 * (np.quantile(batch.double(), 0.95) - high)
        assert scale(batch).item() == pytest.approx(high - low, rel=1e-5)
    assert (scale.low.item(), scale.high.item()) == pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_returns_that_are_not_finite_change_nothing(poison: float) -> None:
    scale = ReturnScale(rate=0.5)
    before = scale(torch.tensor([-40.0, 40.0])).item()
    assert scale(torch.tensor([-40.0, poison])).item() == before


def test_state_is_saved_with_the_module() -> None:
    first, second = ReturnScale(rate=0.5), ReturnScale(rate=0.5)
    first(torch.tensor([-40.0, 40.0]))
    second.load_state_dict(first.state_dict())
    returns = torch.tensor([0.0, 8.0])
    assert second(returns).item() == first(returns).item() > 1


def test_no_gradient_flows_through_the_scale() -> None:
    returns = torch.tensor([0.0, 1e4], requires_grad=True)
    assert not ReturnScale(rate=1.0)(returns).requires_grad
