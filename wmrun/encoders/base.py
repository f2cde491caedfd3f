"""What an encoder promises to the world model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """From observations to one embedding. Built as `cls(obs_space, **options)`.

    Raises `ComponentError` when it cannot take an observation of `obs_space`.
    """

    embed_size: int
    """`E`."""

    @abstractmethod
    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return `embed` `[..., E]`.

        Observations come as the environment sent them: images uint8 `[..., H, W, C]`.
        """
