"""The truncated normal on [-1, 1] that Dreamer V2 draws continuous actions from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wmrun.nn.distributions import HALF_LOG_2PI

EDGE = 1e-6
"""Samples stay this far inside the bounds (V2 common/dists.py:72-87)."""


class TruncatedNormal(NamedTuple):
    """Independent normals over the last axis, truncated to [-1, 1]. `loc` lies in [-1, 1]."""

    loc: Tensor
    scale: Tensor

    @property
    def mode(self) -> Tensor:
        return self.loc

    def sample(self, noise: Tensor) -> Tensor:
        """Return a sample for `noise` uniform in [0, 1).

        The sample is loc + scale·ε with ε held constant: its gradient is 1 for loc and ε for scale,
        without the correction for the bounds that move relative to loc. This is what the original's
        sampler does and what its policies were trained with. Clipping to the open interval passes
        the gradient straight through.
        """
        sample = torch.addcmul(self.loc, self.scale, self.standardized(noise))
        excess = sample.detach() - sample.detach().clamp(-1 + EDGE, 1 - EDGE)
        return sample - excess

    @torch.no_grad()
    def standardized(self, noise: Tensor) -> Tensor:
        """Return ε = (sample - loc) / scale for uniform `noise`, by inverse transform."""
        low, high = self._bounds()
        cdf_low = _cdf(low)
        quantile = cdf_low + noise * (_cdf(high) - cdf_low)
        eps = math.sqrt(2) * torch.erfinv(2 * quantile - 1)
        return torch.minimum(torch.maximum(eps, low), high)

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-density, summed over the last axis."""
        low, high = self._bounds()
        mass = _cdf(high) - _cdf(low)
        eps = (sample - self.loc) / self.scale
        return (-0.5 * eps.square() - HALF_LOG_2PI - (self.scale * mass).log()).sum(-1)

    def entropy(self) -> Tensor:
        """Return the exact entropy, summed over the last axis."""
        low, high = self._bounds()
        mass = _cdf(high) - _cdf(low)
        edges = (low * _pdf(low) - high * _pdf(high)) / (2 * mass)
        return ((self.scale * mass).log() + edges + (0.5 + HALF_LOG_2PI)).sum(-1)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        return (-1 - self.loc) / self.scale, (1 - self.loc) / self.scale


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _pdf(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square() - HALF_LOG_2PI)
