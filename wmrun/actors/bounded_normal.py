"""The policy of Dreamer V3 for continuous actions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import Actor
from wmrun.actors.bounds import bounded_size
from wmrun.nn.distributions import HALF_LOG_2PI, DiagonalNormal
from wmrun.nn.layers import MLP, Activation, Norm, Out, width
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, Width


class NormalPolicy(NamedTuple):
    """Independent normals over the last axis, neither squashed nor clipped."""

    mean: Tensor
    std: Tensor

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + std·noise for standard normal `noise`."""
        return torch.addcmul(self.mean, self.std, noise)

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-density, summed over the last axis."""
        eps = (sample - self.mean) / self.std
        return (-0.5 * eps.square() - self.std.log() - HALF_LOG_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return DiagonalNormal(self.mean, self.std).entropy()


class BoundedNormalActor(Actor):
    """Normals with means in [-1, 1] and bounded standard deviations (V3 3.4; heads.py:146-155).

    mean is tanh(m) and std (max_std - min_std)·sigmoid(s + 2) + min_std of the outputs m and s.
    Samples may leave [-1, 1]: the environment gets them clipped to the bounds it has, replay keeps
    them as they are.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        min_std: smallest standard deviation.
        max_std: largest standard deviation.
        out_scale: factor on the initial kernels of the output layers.
    """

    def __init__(
        self,
        feat_size: int,
        act_space: spaces.Space,
        *,
        layers: NonNegativeInt = 3,
        units: Width = None,
        act: Activation = "silu",
        norm: Norm = "rms",
        min_std: PositiveFloat = 0.1,
        max_std: PositiveFloat = 1.0,
        out_scale: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        self.action_size = bounded_size(act_space, "bounded_normal", unbounded=True)
        self._min_std, self._range = min_std, max_std - min_std
        self.mlp = MLP(feat_size, layers=layers, units=width(units, "units"), act=act, norm=norm)
        self.out = Out(self.mlp.out_size, self.action_size, out_scale=out_scale)
        self.std = Out(self.mlp.out_size, self.action_size, out_scale=out_scale)

    def forward(self, feat: Tensor) -> NormalPolicy:
        hidden = self.mlp(feat)
        std = self._range * torch.sigmoid(self.std(hidden) + 2) + self._min_std
        return NormalPolicy(torch.tanh(self.out(hidden)), std)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        size = (*shape, self.action_size)
        return torch.randn(size, generator=generator, device=generator.device)
