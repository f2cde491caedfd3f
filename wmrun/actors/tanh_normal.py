"""The policy of Dreamer V1 for continuous actions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor
from wmrun.actors.bounds import bounded_size
from wmrun.nn.layers import MLP, Activation, Norm, Out
from wmrun.nn.tanh_normal import TanhNormal
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class TanhNormalActor(Actor):
    """Normals squashed by tanh into (-1, 1) (V1 models.py:142-176).

    The mean is `mean_scale`·tanh(m / `mean_scale`) and the standard deviation softplus(s + c) +
    `min_std` of the outputs m and s, where c makes it `init_std` + `min_std` for s = 0.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        mean_scale: bound of the mean before tanh.
        init_std: standard deviation before tanh at the start.
        min_std: added to the standard deviation.
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
        mean_scale: PositiveFloat = 5.0,
        init_std: PositiveFloat = 5.0,
        min_std: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__()
        self.action_size = bounded_size(act_space, "tanh_normal")
        self._mean_scale = mean_scale
        self._raw_init_std = math.log(math.expm1(init_std))
        self._min_std = min_std
        self.mlp = MLP(feat_size, layers=layers, units=units, act=act, norm=norm)
        self.out = Out(self.mlp.out_size, 2 * self.action_size)

    def forward(self, feat: Tensor) -> TanhNormal:
        mean, std = self.out(self.mlp(feat)).chunk(2, -1)
        return TanhNormal(
            self._mean_scale * torch.tanh(mean / self._mean_scale),
            F.softplus(std + self._raw_init_std) + self._min_std,
        )

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        size = (*shape, self.action_size)
        return torch.randn(size, generator=generator, device=generator.device)
