"""The decoder for vector observations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.nn.distributions import SquaredError, UnitNormal
from wmrun.nn.layers import MLP, Activation, Dense, Norm, width
from wmrun.nn.observations import ObsSpace, vector_sizes
from wmrun.nn.transforms import symlog
from wmrun.registry.ranges import NonNegativeInt, Width


class MlpDecoder(Decoder):
    """A shared MLP and a linear layer per vector (V2 nets.py:283-293).

    Predicts the means of unit-variance normals; with `symlog`, squashed vectors by squared error.

    Args:
        layers: shared hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        symlog: whether vectors squashed by symlog are predicted (V3 3.1).
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        stoch_size: int,
        deter_size: int,
        *,
        layers: NonNegativeInt = 4,
        units: Width = 400,
        act: Activation = "elu",
        norm: Norm = "none",
        symlog: bool = False,
    ) -> None:
        super().__init__()
        sizes = vector_sizes(obs_space, "the mlp decoder")
        self._keys = tuple(sizes)
        self._symlog = symlog
        units = width(units, "units")
        self.mlp = MLP(stoch_size + deter_size, layers=layers, units=units, act=act, norm=norm)
        self.outs = nn.ModuleList(Dense(self.mlp.out_size, size) for size in sizes.values())

    def forward(self, feat: Tensor) -> dict[str, UnitNormal | SquaredError]:
        hidden = self.mlp(feat)
        family = SquaredError if self._symlog else UnitNormal
        outs = zip(self._keys, self.outs, strict=True)
        return {key: family(out(hidden), event_dims=1) for key, out in outs}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        vectors = {key: obs[key].to(torch.float32) for key in self._keys}
        return {key: symlog(x) for key, x in vectors.items()} if self._symlog else vectors
