"""The recurrent dynamics of Dreamer V2."""

from __future__ import annotations

import torch
from torch import Tensor

from wmrun.dynamics.base import Dynamics
from wmrun.nn.layers import Activation, Hidden, Norm
from wmrun.nn.recurrent import LayerNormGRUCell
from wmrun.registry.ranges import PositiveInt


class GruLayerNormDynamics(Dynamics):
    """A dense layer on `[stoch, action]`, then a layer-normalised GRU (V2 nets.py:139-146).

    Args:
        deter: size of the deterministic state (D).
        hidden: units of the dense layer before the GRU; null makes it as large as `deter`.
        act: activation of the dense layer.
        norm: normalisation of the dense layer. The GRU's own layer norm is always there.
    """

    def __init__(
        self,
        stoch_size: int,
        action_size: int,
        *,
        deter: PositiveInt = 200,
        hidden: PositiveInt | None = None,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        hidden = deter if hidden is None else hidden
        self.deter_size = deter
        self._stoch_size = stoch_size
        self.img_in = Hidden(stoch_size + action_size, hidden, act=act, norm=norm)
        self.cell = LayerNormGRUCell(hidden, deter)

    def embed_action(self, action: Tensor) -> Tensor:
        dense = self.img_in.dense
        return torch.nn.functional.linear(action, dense.weight[:, self._stoch_size :], dense.bias)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        weight = self.img_in.dense.weight[:, : self._stoch_size]
        return self.cell(self.img_in.activate(torch.addmm(action, stoch, weight.t())), deter)
