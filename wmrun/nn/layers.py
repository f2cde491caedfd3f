"""Dense layers, layer norm and multi-layer perceptrons as Dreamer V1 and V2 use them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrun.nn.initializers import glorot_

Activation = Literal["elu", "relu", "silu", "tanh"]
Norm = Literal["none", "layer"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Dense(nn.Linear):
    """A linear layer with Glorot uniform kernel and zero bias."""

    def reset_parameters(self) -> None:
        glorot_(self)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis with Keras' epsilon, 1e-3 (torch's default is 1e-5)."""

    def __init__(self, size: int) -> None:
        super().__init__(size, eps=1e-3)


def norm_layer(name: Norm, size: int) -> nn.Module:
    """Return the normalisation called `name` over a last axis of `size`."""
    return LayerNorm(size) if name == "layer" else nn.Identity()


class Hidden(nn.Module):
    """One hidden layer: dense, then norm, then activation; `[..., in_size]` → `[..., out_size]`.

    The dense layer keeps its bias when a norm follows (V2 nets.py:226-233).
    """

    def __init__(self, in_size: int, out_size: int, *, act: Activation, norm: Norm) -> None:
        super().__init__()
        self.dense = Dense(in_size, out_size)
        self.norm = norm_layer(norm, out_size)
        self.act = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.dense(x))

    def activate(self, x: Tensor) -> Tensor:
        """Return norm and activation of what the dense layer put out."""
        return self.act(self.norm(x))


class MLP(nn.Sequential):
    """`layers` hidden layers of `units`: `[..., in_size]` → `[..., out_size]`; no output layer."""

    def __init__(
        self, in_size: int, *, layers: int, units: int, act: Activation, norm: Norm
    ) -> None:
        sizes = [in_size] + [units] * layers
        super().__init__(*(Hidden(m, n, act=act, norm=norm) for m, n in pairwise(sizes)))
        self.out_size = sizes[-1]
