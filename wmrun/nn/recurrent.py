"""Recurrent cells: one step from input and state to the next state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.nn.initializers import Init, initialize_kernel
from wmrun.nn.layers import Dense, LayerNorm


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


class LayerNormGRUCell(nn.Module):
    """The GRU of Dreamer V2 (nets.py:317-347), which differs from `torch.nn.GRUCell` in four ways.

    One dense layer with bias acts on `[x, h]`, and one layer norm spans the reset, candidate and
    update thirds together. The reset gate multiplies the candidate after the mixing of x and h, the
    update gate is shifted by -1, and it weights the new value:  h' = u·tanh(r·c) + (1-u)·h.
    """

    def __init__(self, in_size: int, size: int) -> None:
        super().__init__()
        self.dense = Dense(in_size + size, 3 * size)
        self.norm = LayerNorm(3 * size)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state; `x` is `[..., in_size]`, `h` and the result are `[..., size]`."""
        return gated_update(self.norm(self.dense(torch.cat([x, h], -1))), h)


def gated_update(parts: Tensor, h: Tensor) -> Tensor:
    """Return h' = u·tanh(r·c) + (1-u)·h with r = sigmoid(reset) and u = sigmoid(update - 1).

    `parts` `[..., 3·size]` holds reset, candidate c and update; `h` is `[..., size]` (V2
    nets.py:317-347, V3 rssm.py:135-159).
    """
    reset, candidate, update = parts.chunk(3, -1)
    # tanh(x) = 2·sigmoid(2x) - 1: on CPUs torch's tanh takes ten times as long as its sigmoid.
    candidate = 2 * torch.sigmoid(2 * (torch.sigmoid(reset) * candidate)) - 1
    return torch.lerp(h, candidate, torch.sigmoid(update - 1))
