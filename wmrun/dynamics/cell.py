"""What the recurrent dynamics of Dreamer V1 and V2 share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.dynamics.base import Dynamics
from wmrun.nn.layers import Hidden


class CellDynamics(Dynamics):
    """A dense layer on `[stoch, action]`, then a recurrent cell that keeps `deter`.

    `img_in` is that layer, with `stoch_size` inputs before the action's; `cell` maps its output
    `[N, hidden]` and `deter` `[N, D]` to the next `deter`.
    """

    def __init__(self, stoch_size: int, deter_size: int, img_in: Hidden, cell: nn.Module) -> None:
        super().__init__()
        self.deter_size = deter_size
        self._stoch_size = stoch_size
        self.img_in = img_in
        self.cell = cell

    def embed_action(self, action: Tensor) -> Tensor:
        dense = self.img_in.dense
        return torch.nn.functional.linear(action, dense.weight[:, self._stoch_size :], dense.bias)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        weight = self.img_in.dense.weight[:, : self._stoch_size]
        hidden = self.img_in.activate(torch.addmm(action, stoch, weight.t()))
        after: Tensor = self.cell(hidden, deter)
        return after
