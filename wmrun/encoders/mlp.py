"""The encoder for vector observations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrun.encoders.base import Encoder
from wmrun.nn.layers import MLP, Activation, Norm, width
from wmrun.nn.observations import ObsSpace, vector_sizes
from wmrun.nn.transforms import symlog
from wmrun.registry.ranges import NonNegativeInt, Width


class MlpEncoder(Encoder):
    """An MLP on all vectors (V2 nets.py:226-233).

    They are concatenated in the order of the observation space.

    Args:
        layers: hidden layers; the output of the last one is the embedding.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        symlog: whether vectors are squashed by symlog first (V3 3.1).
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        layers: NonNegativeInt = 4,
        units: Width = 400,
        act: Activation = "elu",
        norm: Norm = "none",
        symlog: bool = False,
    ) -> None:
        super().__init__()
        sizes = vector_sizes(obs_space, "the mlp encoder")
        self._keys = tuple(sizes)
        self._symlog = symlog
        units = width(units, "units")
        self.mlp = MLP(sum(sizes.values()), layers=layers, units=units, act=act, norm=norm)
        self.embed_size = self.mlp.out_size

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        vectors = torch.cat([obs[key].to(torch.float32) for key in self._keys], -1)
        return self.mlp(symlog(vectors) if self._symlog else vectors)
