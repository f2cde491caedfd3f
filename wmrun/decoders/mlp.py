"""The decoder for vector observations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.nn.categoricals import Categoricals
from wmrun.nn.distributions import Prediction, SquaredError, UnitNormal
from wmrun.nn.layers import MLP, Activation, Dense, Norm, width
from wmrun.nn.observations import ObsSpace
from wmrun.nn.transforms import symlog
from wmrun.nn.vectors import Classes, vector_inputs
from wmrun.registry.ranges import NonNegativeInt, Width


class MlpDecoder(Decoder):
    """A shared MLP and a linear layer per vector (V2 nets.py:283-293).

    Predicts numbers as means of unit-variance normals or, with `symlog`, squashed and by squared
    error, and classes as a categorical of each variable.

    Args:
        layers: shared hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        symlog: whether numbers squashed by symlog are predicted (V3 3.1).
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
        inputs = vector_inputs(obs_space, "the mlp decoder")
        self._keys = tuple(inputs)
        self._symlog = symlog
        self.inputs = nn.ModuleList(inputs.values())
        units = width(units, "units")
        self.mlp = MLP(stoch_size + deter_size, layers=layers, units=units, act=act, norm=norm)
        self.outs = nn.ModuleList(Dense(self.mlp.out_size, x.size) for x in inputs.values())

    def forward(self, feat: Tensor) -> dict[str, Prediction]:
        hidden = self.mlp(feat)
        parts = zip(self._keys, self.inputs, self.outs, strict=True)
        return {key: self._prediction(part, out(hidden)) for key, part, out in parts}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts = zip(self._keys, self.inputs, strict=True)
        return {key: self._target(part, obs[key]) for key, part in parts}

    def _prediction(self, part: nn.Module, out: Tensor) -> Prediction:
        if isinstance(part, Classes):
            return Categoricals.of(out, part.counts)
        return (SquaredError if self._symlog else UnitNormal)(out, event_dims=1)

    def _target(self, part: nn.Module, values: Tensor) -> Tensor:
        if isinstance(part, Classes):
            return part.classes(values)
        numbers: Tensor = part(values)
        return symlog(numbers) if self._symlog else numbers
