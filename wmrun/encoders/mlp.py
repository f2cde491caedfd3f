"""The encoder for vector observations of Dreamer V2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrun.encoders.base import Encoder
from wmrun.nn.layers import MLP, Activation, Norm
from wmrun.nn.observations import ObsSpace, vector_sizes
from wmrun.registry.ranges import NonNegativeInt, PositiveInt


class MlpEncoder(Encoder):
    """An MLP on all vectors (V2 nets.py:226-233).

    They are concatenated in the order of the observation space.

    Args:
        layers: hidden layers; the output of the last one is the embedding.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        layers: NonNegativeInt = 4,
        units: PositiveInt = 400,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        sizes = vector_sizes(obs_space, "the mlp encoder")
        self._keys = tuple(sizes)
        self.mlp = MLP(sum(sizes.values()), layers=layers, units=units, act=act, norm=norm)
        self.embed_size = self.mlp.out_size

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        vectors = [obs[key].to(torch.float32) for key in self._keys]
        return self.mlp(torch.cat(vectors, -1))
