"""KL balancing: which side gets which share, and where free nats cut gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wmrun.nn.divergence import BalancedKL


def _distance(p: Tensor, q: Tensor) -> Tensor:
    """Stand in for a KL whose gradients are told apart: 2 per unit of p, 3 per unit of q."""
    return (2 * p + 3 * q).sum(-1)


def _gradients(objective: BalancedKL, post: list[float], prior: list[float]) -> tuple[Tensor, ...]:
    sides = [torch.tensor(x).unsqueeze(-1).requires_grad_() for x in (post, prior)]
    losses, _ = objective(_distance, *sides)
    loss = losses["kl"]
    return tuple(g.squeeze(-1) for g in torch.autograd.grad(loss, sides, materialize_grads=True))


def test_the_prior_gets_the_share_that_balance_names() -> None:
    post, prior = _gradients(BalancedKL(0.8, free=0.0), [1.0], [1.0])
    assert prior.item() == pytest.approx(0.8 * 3)
    assert post.item() == pytest.approx(0.2 * 2)


def test_forward_swaps_the_arguments_and_keeps_the_share() -> None:
    post, prior = _gradients(BalancedKL(0.8, free=0.0, forward=True), [1.0], [1.0])
    assert prior.item() == pytest.approx(0.8 * 2)
    assert post.item() == pytest.approx(0.2 * 3)


def test_a_balance_of_one_half_trains_both_sides_fully() -> None:
    post, prior = _gradients(BalancedKL(0.5, free=0.0), [1.0], [1.0])
    assert (post.item(), prior.item()) == (2.0, 3.0)


def test_free_nats_on_the_mean_cut_all_gradients_or_none() -> None:
    objective = BalancedKL(0.8, free=20.0, free_avg=True)
    post, prior = _gradients(objective, [0.0, 7.0], [0.0, 0.0])
    assert prior.tolist() == post.tolist() == [0.0, 0.0]
    post, prior = _gradients(objective, [0.0, 30.0], [0.0, 0.0])
    assert prior.tolist() == pytest.approx([1.2, 1.2])


def test_free_nats_per_element_cut_single_gradients() -> None:
    objective = BalancedKL(0.8, free=10.0, free_avg=False)
    _, prior = _gradients(objective, [0.0, 7.0], [0.0, 0.0])
    assert prior.tolist() == pytest.approx([0.0, 1.2])


def test_value_is_reported_without_free_nats_and_without_gradient() -> None:
    post, prior = torch.tensor([[0.5]], requires_grad=True), torch.tensor([[0.0]])
    losses, value = BalancedKL(0.8, free=10.0)(_distance, post, prior)
    assert value.tolist() == [1.0]
    assert not value.requires_grad
    assert losses["kl"].item() == 10.0
