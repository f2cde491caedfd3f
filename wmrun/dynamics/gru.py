"""The recurrent dynamics of Dreamer V1."""

from __future__ import annotations

from wmrun.dynamics.cell import CellDynamics
from wmrun.nn.layers import Activation, Hidden, Norm
from wmrun.nn.recurrent import GRUCell
from wmrun.registry.ranges import PositiveInt


class GruDynamics(CellDynamics):
    """A dense layer on `[stoch, action]`, then a GRU (V1 models.py:70-74).

    Args:
        deter: size of the deterministic state (D).
        hidden: units of the dense layer before the GRU; null makes it as large as `deter`.
        act: activation of the dense layer.
        norm: normalisation of the dense layer.
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
        hidden = deter if hidden is None else hidden
        img_in = Hidden(stoch_size + action_size, hidden, act=act, norm=norm)
        super().__init__(stoch_size, deter, img_in, GRUCell(hidden, deter))
