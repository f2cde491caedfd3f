"""The head that predicts whether, or with which discount, an episode goes on."""

from __future__ import annotations

from torch import Tensor

from wmrun.heads.base import Head
from wmrun.nn.distributions import Bernoulli
from wmrun.nn.layers import MLP, Activation, Norm, Out, width
from wmrun.registry.ranges import NonNegativeFloat, NonNegativeInt, Width


class BernoulliHead(Head):
    """An MLP that predicts a probability; trained on soft labels, it predicts their mean.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
        out_scale: factor on the initial kernel of the output layer.
    """

    predicts = "probability"

    def __init__(
        self,
        feat_size: int,
        *,
        layers: NonNegativeInt = 4,
        units: Width = 400,
        act: Activation = "elu",
        norm: Norm = "none",
        out_scale: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.mlp = MLP(feat_size, layers=layers, units=width(units, "units"), act=act, norm=norm)
        self.out = Out(self.mlp.out_size, 1, out_scale=out_scale)

    def forward(self, feat: Tensor) -> Bernoulli:
        return Bernoulli(self.out(self.mlp(feat)).squeeze(-1))
