"""The one-hot policy for discrete actions."""

from __future__ import annotations

import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor, action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.distributions import OneHot
from wmrun.nn.layers import MLP, Activation, Dense, Norm
from wmrun.nn.observations import describe_space
from wmrun.registry.ranges import NonNegativeInt, PositiveInt


class CategoricalActor(Actor):
    """Chooses among the actions of a Discrete space.

    Samples are one-hot with straight-through gradients.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
    """

    def __init__(
        self,
        feat_size: int,
        act_space: spaces.Space,
        *,
        layers: NonNegativeInt = 4,
        units: PositiveInt = 400,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        leaf = action_leaf(act_space)
        if not isinstance(leaf, spaces.Discrete):
            raise ComponentError(
                "the categorical actor takes a Discrete action space, "
                f"but this one is {describe_space(leaf)}",
                hint="Set agent.actor.type: truncated_normal for continuous actions.",
            )
        self.action_size = leaf.n
        self.mlp = MLP(feat_size, layers=layers, units=units, act=act, norm=norm)
        self.out = Dense(self.mlp.out_size, leaf.n)

    def forward(self, feat: Tensor) -> OneHot:
        return OneHot(self.out(self.mlp(feat)))

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand((*shape, 1), generator=generator, device=generator.device)
