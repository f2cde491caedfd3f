"""The diagonal Gaussian latent of Dreamer V1 and of V2's ablation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrun.latents.base import Latent
from wmrun.nn.distributions import DiagonalNormal
from wmrun.registry.ranges import NonNegativeFloat, PositiveInt

_STD_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "sigmoid2": lambda raw: 2 * torch.sigmoid(raw / 2),
}


class GaussianLatent(Latent):
    """Independent normals with reparametrised gradients. Statistics are `[mean, raw std]`.

    Args:
        size: number of dimensions (S).
        std_act: from the raw standard deviation to a positive one: softplus(x), sigmoid(x), or
            sigmoid2, which is 2·sigmoid(x/2).
        min_std: added to the standard deviation.
        shared_noise: whether the states of one batch are sampled with the same noise, as the
            original code of Dreamer V1 does (V1 tools.py:411-417).
    """

    def __init__(
        self,
        *,
        size: PositiveInt = 32,
        std_act: Literal["softplus", "sigmoid", "sigmoid2"] = "sigmoid2",
        min_std: NonNegativeFloat = 0.1,
        shared_noise: bool = False,
    ) -> None:
        self.stats_size = 2 * size
        self.flat_size = self.packed_size = size
        self.packed_dtype = "float32"
        self._std_act = _STD_ACTIVATIONS[std_act]
        self._min_std = min_std
        self._shared_noise = shared_noise

    def pack(self, stoch: Tensor) -> Tensor:
        return stoch

    def unpack(self, packed: Tensor) -> Tensor:
        return packed

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw standard normals `[*shape, S]`; the last axis of `shape` is 1 if they are shared."""
        rows = (*shape[:-1], 1) if self._shared_noise else shape
        size = (*rows, self.flat_size)
        return torch.randn(size, generator=generator, device=generator.device)

    def sample(self, stats: Tensor, noise: Tensor) -> Tensor:
        return self.normal(stats).sample(noise)

    def mode(self, stats: Tensor) -> Tensor:
        return self.normal(stats).mean

    def kl(self, stats: Tensor, other: Tensor) -> Tensor:
        return self.normal(stats).kl(self.normal(other))

    def entropy(self, stats: Tensor) -> Tensor:
        return self.normal(stats).entropy()

    def normal(self, stats: Tensor) -> DiagonalNormal:
        """Return the distribution that statistics `[..., 2·S]` stand for."""
        mean, raw = stats.chunk(2, -1)
        return DiagonalNormal(mean, self._std_act(raw) + self._min_std)
