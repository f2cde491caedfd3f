"""The regression head of Dreamer V3."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from wmrun.errors import ComponentError
from wmrun.heads.base import Head
from wmrun.nn.layers import MLP, Activation, Norm, Out, width
from wmrun.nn.two_hot import TwoHot, symexp_bins
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, Width


class TwoHotHead(Head):
    """An MLP that predicts a distribution over numbers of any size (V3 3.1; heads.py:132-144).

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        bins: numbers that the distribution is over, odd so that 0 is among them.
        out_scale: factor on the initial kernel of the output layer; at 0 the first predictions are
            exactly 0.
    """

    bins: Tensor

    def __init__(
        self,
        feat_size: int,
        *,
        layers: NonNegativeInt = 1,
        units: Width = None,
        act: Activation = "silu",
        norm: Norm = "rms",
        bins: Annotated[int, Ge(3)] = 255,
        out_scale: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__()
        if bins % 2 == 0:
            raise ComponentError(
                f"the two_hot head has {bins} bins, but an even number leaves out 0",
                hint=f"Set bins: {bins + 1}.",
            )
        self.mlp = MLP(feat_size, layers=layers, units=width(units, "units"), act=act, norm=norm)
        self.out = Out(self.mlp.out_size, bins, out_scale=out_scale)
        self.register_buffer("bins", symexp_bins(bins), persistent=False)

    def forward(self, feat: Tensor) -> TwoHot:
        return TwoHot(self.out(self.mlp(feat)), self.bins)
