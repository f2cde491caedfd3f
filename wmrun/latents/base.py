"""What a latent promises to the world model."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Latent(ABC):
    """A family of distributions over the stochastic state `stoch`.

    Networks put out its statistics as one tensor `[..., P]`, for the posterior and for the prior
    alike; `stoch` is flat, `[..., Z]`. A latent has no parameters and no state. Built as
    `cls(**options)`.
    """

    stats_size: int
    """`P`, the numbers that parametrise one distribution."""
    flat_size: int
    """`Z`, the numbers of one sample."""

    packed_size: int
    """Numbers of one sample as it is stored in replay."""
    packed_dtype: str
    """Their NumPy dtype."""

    @abstractmethod
    def pack(self, stoch: Tensor) -> Tensor:
        """Return samples `[..., Z]` in the form that replay stores, `[..., packed_size]`."""

    @abstractmethod
    def unpack(self, packed: Tensor) -> Tensor:
        """Return the samples `[..., Z]` that `pack` was given."""

    @abstractmethod
    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw what `sample` needs for a batch of `shape`, on the generator's device."""

    @abstractmethod
    def sample(self, stats: Tensor, noise: Tensor) -> Tensor:
        """Return `stoch` `[..., Z]`, differentiable with respect to `stats`."""

    @abstractmethod
    def mode(self, stats: Tensor) -> Tensor:
        """Return the most likely `stoch` `[..., Z]`."""

    @abstractmethod
    def kl(self, stats: Tensor, other: Tensor) -> Tensor:
        """Return KL[stats‖other] `[...]` in nats, summed over the latent's variables."""

    @abstractmethod
    def entropy(self, stats: Tensor) -> Tensor:
        """Return the entropy `[...]` in nats, summed over the latent's variables."""
