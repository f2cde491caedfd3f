"""Lambda returns in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.nn.returns import lambda_return

REWARD = torch.tensor([1.0, 2.0, 3.0])
DISCOUNT = torch.tensor([0.9, 0.5, 0.8])
VALUE = torch.tensor([7.0, 10.0, 20.0, 30.0])


def test_lambda_one_is_the_discounted_sum_with_bootstrap() -> None:
    last = 3 + 0.8 * 30
    middle = 2 + 0.5 * last
    expected = [1 + 0.9 * middle, middle, last]
    assert lambda_return(REWARD, DISCOUNT, VALUE, 1.0).tolist() == pytest.approx(expected)


def test_lambda_zero_is_the_one_step_return() -> None:
    expected = [1 + 0.9 * 10, 2 + 0.5 * 20, 3 + 0.8 * 30]
    assert lambda_return(REWARD, DISCOUNT, VALUE, 0.0).tolist() == pytest.approx(expected)


def test_last_target_bootstraps_fully_whatever_lambda() -> None:
    for lambda_ in (0.0, 0.3, 0.95):
        assert lambda_return(REWARD, DISCOUNT, VALUE, lambda_)[-1].item() == pytest.approx(27.0)


def test_agrees_with_the_sum_over_n_step_returns() -> None:
    """G_0 = (1-λ)·Σ_{n<H} λ^(n-1)·G^(n) + λ^(H-1)·G^(H), written out in float64."""
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=5), rng.normal(size=6)
    discount, lambda_ = 0.97, 0.95
    n_step = [
        sum(discount**k * reward[k] for k in range(n)) + discount**n * value[n] for n in range(1, 6)
    ]
    expected = (1 - lambda_) * sum(lambda_ ** (n - 1) * n_step[n - 1] for n in range(1, 5))
    expected += lambda_**4 * n_step[4]
    found = lambda_return(
        torch.tensor(reward), torch.full((5,), discount).double(), torch.tensor(value), lambda_
    )
    assert found[0].item() == pytest.approx(expected, abs=1e-7)
