"""The range of returns."""

from __future__ import annotations

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


def test_state_is_saved_with_the_module() -> None:
    first, second = ReturnScale(rate=0.5), ReturnScale(rate=0.5)
    first(torch.tensor([-40.0, 40.0]))
    second.load_state_dict(first.state_dict())
    returns = torch.tensor([0.0, 8.0])
    assert second(returns).item() == first(returns).item() > 1


def test_no_gradient_flows_through_the_scale() -> None:
    returns = torch.tensor([0.0, 1e4], requires_grad=True)
    assert not ReturnScale(rate=1.0)(returns).requires_grad


def test_batches_of_a_published_training_are_not_too_large() -> None:
    """torch.quantile refuses more than 2^24 numbers; 64 x 64 x 15 returns are far from that."""
    assert ReturnScale(rate=1.0)(torch.arange(64 * 64 * 15.0)).item() == pytest.approx(
        0.9 * (64 * 64 * 15 - 1), rel=1e-5
    )
