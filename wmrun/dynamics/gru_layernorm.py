"""The recurrent dynamics of Dreamer V2."""

from __future__ import annotations

from wmrun.dynamics.cell import CellDynamics
from wmrun.nn.layers import Activation, Hidden, Norm
from wmrun.nn.recurrent import LayerNormGRUCell
from wmrun.registry.ranges import PositiveInt


class GruLayerNormDynamics(CellDynamics):
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
        hidden = deter if hidden is None else hidden
        img_in = Hidden(stoch_size + action_size, hidden, act=act, norm=norm)
        super().__init__(stoch_size, deter, img_in, LayerNormGRUCell(hidden, deter))
