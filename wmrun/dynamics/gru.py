"""The recurrent dynamics of Dreamer V1."""

from __future__ import annotations

from torch import nn

from wmrun.dynamics.cell import CellDynamics
from wmrun.nn.initializers import Init, initialize_kernel
from wmrun.nn.layers import Activation, Hidden, Norm
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


class GRUCell(nn.GRUCell):
    """torch's GRU, `h' = (1-u)·n + u·h`, initialised as Keras initialises it.

    Keras' GRU is the same function in the form that it takes since TensorFlow 2: the reset gate
    multiplies the candidate's recurrent part after its matrix product, and there are two biases.
    torch orders the gates reset, update, candidate, Keras update, reset, candidate.
    """

    def reset_parameters(self) -> None:
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the kernels anew by `scheme`; glorot goes with an orthogonal recurrent kernel."""
        gates = 3 * self.hidden_size
        initialize_kernel(self.weight_ih, scheme, fan_in=self.input_size, fan_out=gates)
        if scheme == "glorot":
            nn.init.orthogonal_(self.weight_hh)
        else:
            initialize_kernel(self.weight_hh, scheme, fan_in=self.hidden_size, fan_out=gates)
        nn.init.zeros_(self.bias_ih)
        nn.init.zeros_(self.bias_hh)
