"""The policy of Dreamer V2 for continuous actions."""

from __future__ import annotations

import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor
from wmrun.actors.bounds import bounded_size
from wmrun.nn.layers import MLP, Activation, Norm, Out
from wmrun.nn.truncated_normal import TruncatedNormal
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt


class TruncatedNormalActor(Actor):
    """Normals truncated to [-1, 1] (V2 nets.py:376-383).

    loc is tanh(m) and scale 2·sigmoid(s/2) + min_std of the outputs m and s.

    A zero output means a scale of 1.1: almost uniform actions at the start.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        min_std: smallest scale.
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
        min_std: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.action_size = bounded_size(act_space, "truncated_normal")
        self._min_std = min_std
        self.mlp = MLP(feat_size, layers=layers, units=units, act=act, norm=norm)
        self.out = Out(self.mlp.out_size, self.action_size)
        self.std = Out(self.mlp.out_size, self.action_size)

    def forward(self, feat: Tensor) -> TruncatedNormal:
        hidden = self.mlp(feat)
        scale = 2 * torch.sigmoid(self.std(hidden) / 2) + self._min_std
        return TruncatedNormal(torch.tanh(self.out(hidden)), scale)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        size = (*shape, self.action_size)
        return torch.rand(size, generator=generator, device=generator.device)
