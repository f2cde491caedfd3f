"""The one-hot policy for discrete actions."""

from __future__ import annotations

import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor, action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.distributions import OneHot, mixed_probs
from wmrun.nn.layers import MLP, Activation, Norm, Out, width
from wmrun.nn.observations import describe_space
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, Share, Width


class CategoricalActor(Actor):
    """Chooses among the actions of a Discrete space.

    Samples are one-hot with straight-through gradients.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        unimix: share of the uniform distribution in the policy. V3 configures 0.01, which its
            repository does not apply.
        out_scale: factor on the initial kernel of the output layer.
    """

    def __init__(
        self,
        feat_size: int,
        act_space: spaces.Space,
        *,
        layers: NonNegativeInt = 4,
        units: Width = 400,
        act: Activation = "elu",
        norm: Norm = "none",
        unimix: Share = 0.0,
        out_scale: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        leaf = action_leaf(act_space)
        if not isinstance(leaf, spaces.Discrete):
            raise ComponentError(
                "the categorical actor takes a Discrete action space, "
                f"but this one is {describe_space(leaf)}",
                hint="Set agent.actor.type: auto, which takes the actor that fits.",
            )
        self.action_size = leaf.n
        self._unimix = unimix
        self.mlp = MLP(feat_size, layers=layers, units=width(units, "units"), act=act, norm=norm)
        self.out = Out(self.mlp.out_size, leaf.n, out_scale=out_scale)

    def forward(self, feat: Tensor) -> OneHot:
        logits = self.out(self.mlp(feat))
        return OneHot(mixed_probs(logits, self._unimix).log() if self._unimix else logits)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand((*shape, 1), generator=generator, device=generator.device)
