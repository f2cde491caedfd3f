"""Dense layers, norms and multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrun.errors import ComponentError
from wmrun.nn.initializers import Init, initialize_kernel

Activation = Literal["elu", "relu", "silu", "tanh"]
Norm = Literal["none", "layer", "rms"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def width(value: int | None, option: str) -> int:
    """Return a width that must be known by now. Raises `ComponentError` naming the option."""
    if value is None:
        raise ComponentError(
            f"the option {option} is null, which takes its number from the size of the agent, "
            "but this agent has none",
            hint=f"Set {option} to a number, or set agent.size if agent.type is dreamer_v3.",
        )
    return value


class Dense(nn.Linear):
    """A linear layer with zero bias at the start and a Glorot uniform kernel times `out_scale`."""

    def __init__(self, in_size: int, out_size: int, *, out_scale: float = 1.0) -> None:
        self._out_scale = out_scale
        super().__init__(in_size, out_size)

    def reset_parameters(self) -> None:
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the kernel anew by `scheme`, times `out_scale`."""
        fans = {"fan_in": self.in_features, "fan_out": self.out_features}
        initialize_kernel(self.weight, scheme, **fans, scale=self._out_scale)
        nn.init.zeros_(self.bias)


class Out(Dense):
    """A dense layer whose result is float32, whatever precision it is computed in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(torch.float32)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis with Keras' epsilon, 1e-3 (torch's default is 1e-5)."""

    def __init__(self, size: int) -> None:
        super().__init__(size, eps=1e-3)


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x²) + 1e-4) times a learned scale, over the last axis (V3 nets.py)."""

    def __init__(self, size: int) -> None:
        super().__init__(size, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(torch.float32))


def norm_layer(name: Norm, size: int) -> nn.Module:
    """Return the normalisation called `name` over a last axis of `size`."""
    if name == "none":
        return nn.Identity()
    return LayerNorm(size) if name == "layer" else RMSNorm(size)


class Hidden(nn.Module):
    """One hidden layer: dense, then norm, then activation; `[..., in_size]` → `[..., out_size]`.

    The dense layer keeps its bias when a norm follows (V2 nets.py:226-233, V3 nets.py).
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
