"""The tanh-normal against numerical integrals and its edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.nn.tanh_normal import TanhNormal


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.3), (-0.7, 0.8)])
def test_density_integrates_to_one(mean: float, std: float) -> None:
    y = torch.linspace(-0.99999, 0.99999, 200_001, dtype=torch.float64).unsqueeze(-1)
    policy = TanhNormal(torch.tensor([mean]).double(), torch.tensor([std]).double())
    density = policy.log_prob(y).exp()
    assert torch.trapezoid(density, y.squeeze(-1)).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.3), (3.0, 0.5)])
def test_entropy_of_each_dimension_is_within_two_hundredths_of_the_integral(
    mean: float, std: float
) -> None:
    """H = E[-log N(x)] + E[log(1 - tanh(x)^2)], integrated over x in float64."""
    x = np.linspace(mean - 8 * std, mean + 8 * std, 100_001)
    density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    log_slope = -2 * np.log(np.cosh(x))
    expected = 0.5 * np.log(2 * np.pi * np.e * std**2) + (density * log_slope).sum() * (x[1] - x[0])
    policy = TanhNormal(torch.full((4, 2), mean), torch.full((4, 2), std))
    assert policy.entropy().tolist() == pytest.approx([2 * expected] * 4, abs=4e-2)


def test_mode_is_likelier_than_almost_every_sample() -> None:
    policy = TanhNormal(torch.tensor([[0.5, -1.0]]), torch.tensor([[0.4, 1.5]]))
    noise = torch.randn(1000, 1, 2, generator=torch.Generator().manual_seed(1))
    likelier = policy.log_prob(policy.sample(noise)) > policy.log_prob(policy.mode)
    assert likelier.float().mean().item() < 0.05


def test_mode_of_each_row_is_its_own() -> None:
    means = torch.tensor([[2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])
    modes = TanhNormal(means, torch.full((3, 2), 0.1)).mode
    assert torch.equal(modes.sign(), means.sign())
    for row, mode in zip(means, modes, strict=True):
        alone = TanhNormal(row[None], torch.full((1, 2), 0.1)).mode
        torch.testing.assert_close(alone[0], mode)


def test_mode_favours_no_direction() -> None:
    mean, std = torch.tensor([[0.2, -0.4]]), torch.full((1, 2), 5.0)
    torch.testing.assert_close(TanhNormal(-mean, std).mode, -TanhNormal(mean, std).mode)


def test_mode_leaves_every_random_stream_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    policy = TanhNormal(torch.zeros(4, 2), torch.ones(4, 2))
    assert torch.equal(policy.mode, policy.mode)
    assert torch.equal(torch.rand(2), expected)


def test_saturated_actions_have_finite_densities_and_gradients() -> None:
    mean = torch.tensor([5.0, -5.0], requires_grad=True)
    std = torch.tensor([5.0, 5.0], requires_grad=True)
    policy = TanhNormal(mean, std)
    sample = policy.sample(torch.tensor([3.0, -3.0]))
    assert sample.detach().abs().tolist() == [1, 1]
    (policy.log_prob(sample) + policy.entropy()).backward()
    for gradient in (mean.grad, std.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
