"""The categorical latent of Dreamer V2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.latents.base import Latent
from wmrun.nn.distributions import OneHot
from wmrun.registry.ranges import PositiveInt


class CategoricalLatent(Latent):
    """Independent one-hot variables with straight-through gradients (V2 section 2.1).

    Statistics are logits, variable by variable; samples are flattened the same way.

    Args:
        groups: number of variables (S).
        classes: number of classes of each variable (K).
    """

    def __init__(self, *, groups: PositiveInt = 32, classes: PositiveInt = 32) -> None:
        self._shape = (groups, classes)
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
        return self._variables(stats).sample(noise).flatten(-2)

    def mode(self, stats: Tensor) -> Tensor:
        return self._variables(stats).mode.flatten(-2)

    def kl(self, stats: Tensor, other: Tensor) -> Tensor:
        return self._variables(stats).kl(self._variables(other)).sum(-1)

    def entropy(self, stats: Tensor) -> Tensor:
        return self._variables(stats).entropy().sum(-1)

    def _variables(self, stats: Tensor) -> OneHot:
        return OneHot(stats.unflatten(-1, self._shape))
