"""The head that predicts whether, or with which discount, an episode goes on."""

from __future__ import annotations

from torch import Tensor

from wmrun.heads.base import Head
from wmrun.nn.distributions import Bernoulli
from wmrun.nn.layers import MLP, Activation, Dense, Norm
from wmrun.registry.ranges import NonNegativeInt, PositiveInt


class BernoulliHead(Head):
    """An MLP that predicts a probability; trained on soft labels, it predicts their mean.

    Args:
        layers: hidden layers.
        units: units of each hidden layer.
        act: activation of the hidden layers.
        norm: normalisation of the hidden layers.
    """

    def __init__(
        self,
        feat_size: int,
        *,
        layers: NonNegativeInt = 4,
        units: PositiveInt = 400,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.mlp = MLP(feat_size, layers=layers, units=units, act=act, norm=norm)
        self.out = Dense(self.mlp.out_size, 1)

    def forward(self, feat: Tensor) -> Bernoulli:
        return Bernoulli(self.out(self.mlp(feat)).squeeze(-1))
