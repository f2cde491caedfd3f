"""Recurrent cells: one step from input and state to the next state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
    after: Tensor = _GatedUpdate.apply(parts.to(h.dtype), h)
    return after


class _GatedUpdate(torch.autograd.Function):
    """The gates in half the kernels, forward and backward, that autograd would launch."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, h: Tensor) -> Tensor:
        raw_reset, candidate, raw_update = parts.chunk(3, -1)
        reset = torch.sigmoid(raw_reset)
        # tanh(x) = 2·sigmoid(2x) - 1: on CPUs torch's tanh takes ten times as long as its sigmoid.
        new = (reset * candidate).mul_(2).sigmoid_().mul_(2).sub_(1)
        update = (raw_update - 1).sigmoid_()
        ctx.save_for_backward(reset, candidate, new, update, h)
        return torch.lerp(h, new, update)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        reset, candidate, new, update, h = ctx.saved_tensors
        through = grad * update
        into_product = torch.addcmul(through, through, new.square(), value=-1)
        parts = torch.cat(
            [
                into_product * candidate * _slope(reset),
                into_product * reset,
                grad * (new - h) * _slope(update),
            ],
            -1,
        )
        return parts, grad - through


def _slope(sigmoid: Tensor) -> Tensor:
    """Return the derivative of a sigmoid, given its value."""
    return torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1)
