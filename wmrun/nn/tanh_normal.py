"""The normal squashed by tanh that Dreamer V1 draws continuous actions from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrun.nn.distributions import HALF_LOG_2PI

EDGE = 1 - 2**-24
"""The float32 below 1: actions are clamped to it before atanh (V1 tools.py:290-313)."""
DRAWS = 100
"""Samples that the mode, which has no closed form, is found from (V1 models.py:171)."""
QUANTILES = 32
"""Samples that the entropy, which has none either, is found from."""


class TanhNormal(NamedTuple):
    """tanh of independent normals over the last axis; `mean` and `std` are those before tanh."""

    mean: Tensor
    std: Tensor

    @property
    def mode(self) -> Tensor:
        """The likeliest of 100 samples whose noise is always the same.

        The original draws that noise anew for every action. Here it is 50 draws and their
        opposites, so that evaluation is a function of the state and favours no direction.
        """
        size = self.mean.shape[-1]
        half = torch.randn(DRAWS // 2, size, generator=torch.Generator().manual_seed(0))
        noise = torch.cat([half, -half]).to(self.mean)
        return self.likeliest(noise.reshape(DRAWS, *[1] * (self.mean.ndim - 1), size))

    def sample(self, noise: Tensor) -> Tensor:
        """Return tanh(mean + std·noise) for standard normal `noise`."""
        return torch.tanh(torch.addcmul(self.mean, self.std, noise))

    def likeliest(self, noise: Tensor) -> Tensor:
        """Return, of the samples that `noise` `[K, ..., A]` gives, the likeliest in each row.

        The original takes the one that is likeliest in the batch's first row for all rows
        (tools.py:242), which its single environment never shows.
        """
        samples = self.sample(noise)
        best = self.log_prob(samples).argmax(0, keepdim=True).unsqueeze(-1)
        return samples.take_along_dim(best, 0).squeeze(0)

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-density, summed over the last axis, with the sample clamped to ±`EDGE`."""
        x = clamped_atanh(sample)
        normal = -0.5 * ((x - self.mean) / self.std).square() - self.std.log() - HALF_LOG_2PI
        return (normal - log_tanh_slope(x)).sum(-1)

    def entropy(self, noise: Tensor | None = None) -> Tensor:
        """Return -mean log_prob of the samples that `noise` `[K, ..., A]` gives.

        By default `noise` holds the midpoints of the normal's 32 quantiles, the same for every
        dimension: dimensions are independent, so their entropies add up. Each is within 0.02 nats;
        100 random draws, as in the original, are off by 0.02 to 0.6.
        """
        if noise is None:
            quantiles = (torch.arange(QUANTILES).to(self.mean) + 0.5) / QUANTILES
            noise = torch.special.ndtri(quantiles).reshape(QUANTILES, *[1] * self.mean.ndim)
        return -self.log_prob(self.sample(noise)).mean(0)


def clamped_atanh(y: Tensor) -> Tensor:
    """Return atanh of `y` clamped to ±`EDGE`, beyond which float32 has no finite answer."""
    return torch.atanh(y.clamp(-EDGE, EDGE))


def log_tanh_slope(x: Tensor) -> Tensor:
    """Return log |d tanh(x)/dx| = 2·(ln 2 - x - softplus(-2x)), which is finite for large |x|."""
    return 2 * (math.log(2) - x - F.softplus(-2 * x))
