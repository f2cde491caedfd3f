"""The policy for several discrete choices at once."""

from __future__ import annotations

import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor, action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.categoricals import Categoricals
from wmrun.nn.distributions import mixed_probs
from wmrun.nn.layers import MLP, Activation, Norm, Out, width
from wmrun.nn.observations import class_counts, describe_space
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, Share, Width


class MultiCategoricalActor(Actor):
    """Makes every choice of a MultiDiscrete or MultiBinary space on its own.

    Samples are concatenated one-hot vectors with straight-through gradients. A Discrete space
    counts as one choice.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        unimix: share of the uniform distribution in each choice.
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
        self._counts = class_counts(leaf)
        if not self._counts:
            raise ComponentError(
                "the multi_categorical actor takes a MultiDiscrete action space, "
                f"but this one is {describe_space(leaf)}",
                hint="Set agent.actor.type: auto, which takes the actor that fits.",
            )
        self._unimix = unimix
        self.action_size = sum(self._counts)
        self.mlp = MLP(feat_size, layers=layers, units=width(units, "units"), act=act, norm=norm)
        self.out = Out(self.mlp.out_size, self.action_size, out_scale=out_scale)

    def forward(self, feat: Tensor) -> Categoricals:
        policy = Categoricals.of(self.out(self.mlp(feat)), self._counts)
        if self._unimix == 0:
            return policy
        return Categoricals(*(mixed_probs(logits, self._unimix).log() for logits in policy))

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        size = (*shape, len(self._counts))
        return torch.rand(size, generator=generator, device=generator.device)
