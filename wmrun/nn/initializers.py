"""Weight initialisers in the forms that the original papers' frameworks use."""

from __future__ import annotations

import math
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Init = Literal["glorot", "truncated_normal"]

TRUNCATED_STD = 0.87962566
"""Standard deviation of a unit normal that is truncated at two standard deviations."""


@runtime_checkable
class Initializable(Protocol):
    """A layer that can be initialised anew."""

    def initialize(self, scheme: Init) -> None: ...


def initialize(network: nn.Module, scheme: Init) -> None:
    """Initialise every layer of `network` that knows how to, e.g. `nn.layers.Dense`, by `scheme`.

    Layers that do not are left as they are.
    """
    for layer in network.modules():
        if isinstance(layer, Initializable):
            layer.initialize(scheme)


@torch.no_grad()
def initialize_kernel(
    kernel: Tensor, scheme: Init, *, fan_in: int, fan_out: int, scale: float = 1.0
) -> None:
    """Fill `kernel` in place and multiply it by `scale`.

    glorot: U(-l, l) with l = sqrt(6 / (fan_in + fan_out)), Keras' default. truncated_normal: of
    variance 1 / fan_in, cut at two standard deviations of the normal before the cut (V3
    nets.py:144-197). Both fans of a convolution include its kernel area.
    """
    if scheme == "glorot":
        limit = math.sqrt(6 / (fan_in + fan_out))
        kernel.uniform_(-limit, limit)
    else:
        nn.init.trunc_normal_(kernel, std=1.0, a=-2.0, b=2.0)
        kernel.mul_(1 / (TRUNCATED_STD * math.sqrt(fan_in)))
    kernel.mul_(scale)


@torch.no_grad()
def initialize_conv(layer: nn.Conv2d | nn.ConvTranspose2d, scheme: Init) -> None:
    """Initialise the kernel by `scheme` and the bias to zero."""
    area = layer.kernel_size[0] * layer.kernel_size[1]
    initialize_kernel(
        layer.weight, scheme, fan_in=layer.in_channels * area, fan_out=layer.out_channels * area
    )
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
