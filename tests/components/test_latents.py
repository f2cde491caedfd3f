"""Latents: layout of statistics and samples."""

from __future__ import annotations

import pytest
import torch

from wmrun.latents.base import Latent
from wmrun.latents.categorical import CategoricalLatent
from wmrun.latents.gaussian import GaussianLatent

FAMILIES = [CategoricalLatent(groups=3, classes=5), GaussianLatent(size=4)]


@pytest.mark.parametrize("latent", FAMILIES, ids=["categorical", "gaussian"])
def test_shapes(latent: Latent) -> None:
    stats = torch.randn(7, 2, latent.stats_size)
    sample = latent.sample(stats, latent.noise((7, 2), torch.Generator()))
    assert sample.shape == latent.mode(stats).shape == (7, 2, latent.flat_size)
    assert latent.kl(stats, stats).shape == latent.entropy(stats).shape == (7, 2)
    assert latent.kl(stats, stats).abs().max().item() < 1e-5


@pytest.mark.parametrize("latent", FAMILIES, ids=["categorical", "gaussian"])
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
