"""The encoder for vector observations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wmrun.encoders.base import Encoder
from wmrun.nn.layers import MLP, Activation, Norm, width
from wmrun.nn.observations import ObsSpace
from wmrun.nn.transforms import symlog
from wmrun.nn.vectors import Numbers, vector_inputs
from wmrun.registry.ranges import NonNegativeInt, Width


class MlpEncoder(Encoder):
    """An MLP on all vectors (V2 nets.py:226-233).

    They are concatenated in the order of the observation space: numbers of any shape flattened,
    classes as one-hot vectors.

    Args:
        layers: hidden layers; the output of the last one is the embedding.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        symlog: whether numbers are squashed by symlog first (V3 3.1).
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
        inputs = vector_inputs(obs_space, "the mlp encoder")
        self._keys = tuple(inputs)
        self._symlog = symlog
        self.inputs = nn.ModuleList(inputs.values())
        size = sum(part.size for part in inputs.values())
        units = width(units, "units")
        self.mlp = MLP(size, layers=layers, units=units, act=act, norm=norm)
        self.embed_size = self.mlp.out_size

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        inputs = zip(self._keys, self.inputs, strict=True)
        return self.mlp(torch.cat([self._vector(part, obs[key]) for key, part in inputs], -1))

    def _vector(self, part: nn.Module, values: Tensor) -> Tensor:
        vector: Tensor = part(values)
        return symlog(vector) if self._symlog and isinstance(part, Numbers) else vector
