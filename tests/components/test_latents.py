"""Latents: layout of statistics and samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.errors import ComponentError
from wmrun.latents.base import Latent
from wmrun.latents.categorical import CategoricalLatent
from wmrun.latents.gaussian import GaussianLatent

FAMILIES = [
    CategoricalLatent(groups=3, classes=5),
    CategoricalLatent(groups=3, classes=40, unimix=0.01),
    GaussianLatent(size=4),
]
NAMES = ["categorical", "mixed", "gaussian"]


@pytest.mark.parametrize("latent", FAMILIES, ids=NAMES)
def test_shapes(latent: Latent) -> None:
    stats = torch.randn(7, 2, latent.stats_size)
    sample = latent.sample(stats, latent.noise((7, 2), torch.Generator()))
    assert sample.shape == latent.mode(stats).shape == (7, 2, latent.flat_size)
    assert latent.kl(stats, stats).shape == latent.entropy(stats).shape == (7, 2)
    assert latent.kl(stats, stats).abs().max().item() < 1e-5


@pytest.mark.parametrize("latent", FAMILIES, ids=NAMES)
def test_samples_come_back_from_replay_as_they_were(latent: Latent) -> None:
    stats = torch.randn(7, 2, latent.stats_size)
    sample = latent.sample(stats, latent.noise((7, 2), torch.Generator()))
    packed = latent.pack(sample)
    assert packed.shape == (7, 2, latent.packed_size)
    assert str(packed.dtype) == f"torch.{latent.packed_dtype}"
    assert torch.equal(latent.unpack(packed), sample)


@pytest.mark.parametrize("latent", FAMILIES, ids=NAMES)
def test_noise_is_reproduced_by_the_generator(latent: Latent) -> None:
    draws = [latent.noise((6,), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].unique().numel() == draws[0].numel()


def test_categorical_samples_are_flattened_variable_by_variable() -> None:
    latent = CategoricalLatent(groups=2, classes=3)
    stats = torch.tensor([0.0, 50.0, 0.0, 0.0, 0.0, 50.0])
    sample = latent.sample(stats, torch.full((2, 1), 0.5))
    assert sample.tolist() == latent.mode(stats).tolist() == [0, 1, 0, 0, 0, 1]


def test_categorical_kl_and_entropy_sum_over_variables() -> None:
    latent = CategoricalLatent(groups=2, classes=4)
    uniform = torch.zeros(8)
    certain = torch.tensor([50.0, 0, 0, 0, 50.0, 0, 0, 0])
    log_4 = torch.tensor(4.0).log().item()
    assert latent.entropy(uniform).item() == pytest.approx(2 * log_4, abs=1e-5)
    assert latent.kl(certain, uniform).item() == pytest.approx(2 * log_4, abs=1e-5)


def test_unimix_is_a_floor_under_every_probability() -> None:
    latent = CategoricalLatent(groups=2, classes=4, unimix=0.01)
    probs = latent.probs(torch.tensor([90.0, 0, 0, 0, 0, 0, 0, 0]))
    assert probs[0].tolist() == pytest.approx([0.99 + 0.0025, 0.0025, 0.0025, 0.0025])
    assert probs[1].tolist() == pytest.approx([0.25] * 4)


def test_unimix_is_in_samples_divergence_entropy_and_gradients() -> None:
    """By hand in float64, for one variable of 3 classes mixed with a fifth of the uniform."""
    latent = CategoricalLatent(groups=1, classes=3, unimix=0.2)
    logits, other = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.0, 1.0, -3.0])
    p, q = (_mixed(x.double().numpy(), 0.2) for x in (logits, other))
    assert latent.kl(logits, other).item() == pytest.approx((p * np.log(p / q)).sum(), abs=1e-6)
    assert latent.entropy(logits).item() == pytest.approx(-(p * np.log(p)).sum(), abs=1e-6)

    noise = (torch.arange(1000).reshape(1000, 1, 1) + 0.5) / 1000
    shares = latent.sample(logits.expand(1000, 3), noise).mean(0)
    np.testing.assert_allclose(shares, p, atol=1.1e-3)

    logits.requires_grad_()
    weights = torch.tensor([1.0, -2.0, 4.0])
    sample = latent.sample(logits, torch.full((1, 1), 0.5))
    (gradient,) = torch.autograd.grad((sample * weights).sum(), logits)
    softmax, w = (p - 0.2 / 3) / 0.8, weights.numpy()
    np.testing.assert_allclose(gradient, 0.8 * softmax * (w - softmax @ w), atol=1e-6)


def test_the_classes_must_come_from_somewhere() -> None:
    with pytest.raises(ComponentError, match="the option classes is null"):
        CategoricalLatent(classes=None)


def test_gaussian_std_starts_at_1_1() -> None:
    normal = GaussianLatent(size=2).normal(torch.zeros(4))
    assert normal.std.tolist() == pytest.approx([1.1, 1.1])


def test_shared_noise_moves_every_state_of_a_batch_alike() -> None:
    latent = GaussianLatent(size=4, shared_noise=True)
    noise = latent.noise((9, 5), torch.Generator().manual_seed(0))
    samples = latent.sample(torch.zeros(9, 5, 8), noise)
    assert samples.shape == (9, 5, 4)
    assert torch.equal(samples, samples[:, :1].expand(9, 5, 4))
    assert samples[:, 0].unique().numel() == 36


def _mixed(logits: np.ndarray, unimix: float) -> np.ndarray:
    odds = np.exp(logits)
    mixed: np.ndarray = (1 - unimix) * odds / odds.sum() + unimix / len(odds)
    return mixed
