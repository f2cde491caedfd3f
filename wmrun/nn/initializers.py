"""Weight initialisers in the forms that the original papers' frameworks use."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def glorot_(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the kernel to Glorot uniform and the bias to zero, Keras' default.

    U(-l, l) with l = sqrt(6 / (fan_in + fan_out)); both fans of a convolution include its kernel
    area.
    """
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
