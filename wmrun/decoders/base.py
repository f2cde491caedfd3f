"""What a decoder promises to the world model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from wmrun.nn.distributions import Prediction


class Decoder(nn.Module, ABC):
    """From the model state back to observations.

    Built as `cls(obs_space, stoch_size, deter_size, **options)`.

    Raises `ComponentError` when it cannot make an observation of `obs_space`.
    """

    @abstractmethod
    def forward(self, feat: Tensor) -> Mapping[str, Prediction]:
        """Return one prediction per observation key.

        `feat` is `[stoch, deter]`, `[..., F]`.
        """

    @abstractmethod
    def targets(self, obs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what the losses compare with: observations on the scale that is predicted."""
