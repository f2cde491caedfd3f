"""What dynamics promise to the world model."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Dynamics(nn.Module, ABC):
    """The deterministic path of the world model, one step.

    Built as `cls(stoch_size, action_size, **options)`.
    """

    deter_size: int
    """`D`."""

    def embed_action(self, action: Tensor) -> Tensor:
        """Return what `forward` takes for `action` `[..., A]`: all that needs no recurrence.

        It is called once for all steps of a sequence whose actions are known. As it is here, the
        actions themselves.
        """
        return action

    @abstractmethod
    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """Return the next `deter` `[N, D]`.

        Takes `deter` `[N, D]`, flat `stoch` `[N, Z]` and the embedded action `[N, ...]`.
        """
