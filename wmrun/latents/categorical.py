"""The categorical latent of Dreamer V2 and V3."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.latents.base import Latent
from wmrun.nn.distributions import OneHot, mixed_probs, sample_one_hot
from wmrun.nn.layers import width
from wmrun.registry.ranges import PositiveInt, Share, Width


class CategoricalLatent(Latent):
    """Independent one-hot variables with straight-through gradients (V2 section 2.1).

    Statistics are logits, variable by variable; samples are flattened the same way.

    Args:
        groups: number of variables (S).
        classes: number of classes of each variable (K).
        unimix: share of the uniform distribution in every variable: samples, divergences, entropies
            and gradients are those of the mixture (V3 3.2).
    """

    def __init__(
        self, *, groups: PositiveInt = 32, classes: Width = 32, unimix: Share = 0.0
    ) -> None:
        classes = width(classes, "classes")
        self._shape = (groups, classes)
        self._unimix = unimix
        self.stats_size = self.flat_size = groups * classes
        self.packed_size, self.packed_dtype = groups, "uint8" if classes <= 256 else "int32"

    def pack(self, stoch: Tensor) -> Tensor:
        """Return the classes `[..., S]` of one-hot samples."""
        return stoch.unflatten(-1, self._shape).argmax(-1).to(getattr(torch, self.packed_dtype))

    def unpack(self, packed: Tensor) -> Tensor:
        return nn.functional.one_hot(packed.long(), self._shape[1]).flatten(-2).to(torch.float32)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        size = (*shape, self._shape[0], 1)
        return torch.rand(size, generator=generator, device=generator.device)

    def sample(self, stats: Tensor, noise: Tensor) -> Tensor:
        return sample_one_hot(self.probs(stats), noise).flatten(-2)

    def mode(self, stats: Tensor) -> Tensor:
        return OneHot(stats.unflatten(-1, self._shape)).mode.flatten(-2)

    def kl(self, stats: Tensor, other: Tensor) -> Tensor:
        log_probs = self._log_probs(stats)
        return (log_probs.exp() * (log_probs - self._log_probs(other))).sum((-1, -2))

    def entropy(self, stats: Tensor) -> Tensor:
        log_probs = self._log_probs(stats)
        return -(log_probs.exp() * log_probs).sum((-1, -2))

    def probs(self, stats: Tensor) -> Tensor:
        """Return the probabilities `[..., S, K]` that statistics stand for."""
        return mixed_probs(stats.unflatten(-1, self._shape), self._unimix)

    def _log_probs(self, stats: Tensor) -> Tensor:
        if self._unimix:
            return self.probs(stats).log()
        return stats.unflatten(-1, self._shape).log_softmax(-1)
