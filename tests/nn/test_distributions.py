"""Distributions against hand-made numbers and frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wmrun.nn.distributions import (
    Bernoulli,
    DiagonalNormal,
    OneHot,
    SquaredError,
    UnitNormal,
    mixed_probs,
    sample_one_hot,
)
from wmrun.nn.truncated_normal import EDGE, TruncatedNormal

CONSTANT = 0.5 * math.log(2 * math.pi)


def test_unit_normal_loss_is_half_the_squared_error_with_constants() -> None:
    mean, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    scalars = UnitNormal(mean, event_dims=0).loss(target)
    expected = [[CONSTANT, 2 + CONSTANT], [4.5 + CONSTANT, CONSTANT]]
    np.testing.assert_allclose(scalars, expected, rtol=1e-6)
    vectors = UnitNormal(mean, event_dims=1).loss(target)
    np.testing.assert_allclose(vectors, [2 + 2 * CONSTANT, 4.5 + 2 * CONSTANT], rtol=1e-6)


def test_squared_error_has_neither_factor_nor_constant() -> None:
    mean, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert SquaredError(mean, event_dims=0).loss(target).tolist() == [[0, 4], [9, 0]]
    assert SquaredError(mean, event_dims=1).loss(target).tolist() == [4, 9]
    assert SquaredError(mean, event_dims=2).loss(target).item() == 13


@pytest.mark.parametrize("classes", [2, 15, 16, 40])
def test_few_and_many_classes_are_mixed_and_sampled_alike(classes: int) -> None:
    """Both sides of the number of classes at which the memory layout changes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, classes, generator=generator)
    odds = np.exp(logits.double().numpy())
    expected = 0.9 * odds / odds.sum(-1, keepdims=True) + 0.1 / classes
    probs = mixed_probs(logits, 0.1)
    np.testing.assert_allclose(probs, expected, rtol=1e-5)
    noise = torch.rand(6, 5, 1, generator=generator)
    chosen = (expected.cumsum(-1) <= noise.numpy()).sum(-1)
    assert np.array_equal(sample_one_hot(probs, noise).argmax(-1), chosen)


def test_bernoulli_loss_of_a_soft_label_is_least_at_that_probability() -> None:
    probabilities = torch.tensor([0.5, 0.9, 0.99, 0.999])
    losses = Bernoulli(torch.logit(probabilities)).loss(torch.full((4,), 0.99))
    assert losses.argmin() == 2
    expected = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01))
    assert losses[2].item() == pytest.approx(expected, abs=1e-6)


def test_one_hot_samples_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.0, 0.125, 0.375])
    noise = (torch.arange(800) / 800).unsqueeze(-1)
    logits = probabilities.log().expand(800, 4).contiguous()
    samples = OneHot(logits).sample(noise)
    assert samples.sum(0).tolist() == [400, 0, 100, 300]


def test_one_hot_sample_is_valid_where_rounding_leaves_noise_above_the_total() -> None:
    sample = OneHot(torch.zeros(1, 7)).sample(torch.tensor([[1.0]]))
    assert sample.tolist() == [[0, 0, 0, 0, 0, 0, 1]]


def test_diagonal_normal_kl_by_hand() -> None:
    p = DiagonalNormal(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))
    q = DiagonalNormal(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0]))
    assert p.kl(q).item() == pytest.approx(0.5 * (4 + 1 - 1) - math.log(2), abs=1e-6)
    assert p.entropy().item() == pytest.approx(math.log(2) + 1 + 2 * CONSTANT, abs=1e-6)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.1), (0.9, 0.1), (-0.5, 2.0)])
def test_truncated_normal_agrees_with_numerical_integration(loc: float, scale: float) -> None:
    x = np.linspace(-1, 1, 200_001)
    density = np.exp(-0.5 * ((x - loc) / scale) ** 2)
    density /= _integral(density, x)
    policy = TruncatedNormal(torch.tensor([loc]), torch.tensor([scale]))
    entropy = -_integral(density * np.log(density), x)
    assert policy.entropy().item() == pytest.approx(entropy, abs=1e-5)
    points = torch.tensor(x[::20_000, None], dtype=torch.float32)
    np.testing.assert_allclose(policy.log_prob(points), np.log(density[::20_000]), atol=1e-4)
    noise = torch.arange(0.5, 10_000)[:, None] / 10_000
    mean = policy.sample(noise).double().mean().item()
    assert mean == pytest.approx(_integral(x * density, x), abs=1e-4)


def test_truncated_normal_samples_stay_inside_the_bounds() -> None:
    policy = TruncatedNormal(torch.tensor([1.0, -1.0]), torch.tensor([0.1, 0.1]))
    samples = policy.sample(torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24]]))
    assert samples.abs().max().item() <= 1 - EDGE + 6e-8
    assert torch.isfinite(samples).all()


def test_truncated_normal_sample_gradient_is_one_for_loc_and_eps_for_scale() -> None:
    loc, scale = torch.tensor([0.3], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    sample = TruncatedNormal(loc, scale).sample(torch.tensor([0.9]))
    sample.sum().backward()
    assert loc.grad.item() == 1.0
    assert scale.grad.item() == pytest.approx((sample.item() - 0.3) / 0.5, abs=1e-6)


def _integral(y: np.ndarray, x: np.ndarray) -> float:
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
