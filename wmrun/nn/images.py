"""Images on their way into and out of convolutional networks, and the layer both ways share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.nn.initializers import glorot_
from wmrun.nn.layers import ACTIVATIONS, Activation, Norm, norm_layer


def scale_images(image: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-0.5, 0.5]."""
    return image.to(torch.float32).div_(255).sub_(0.5)


def channels_first(image: Tensor) -> Tensor:
    """View `[N, H, W, C]` as `[N, C, H, W]` in channels-last memory, which costs no copy."""
    return image.permute(0, 3, 1, 2)


def channels_last(image: Tensor) -> Tensor:
    """View `[N, C, H, W]` as `[N, H, W, C]`."""
    return image.permute(0, 2, 3, 1)


class Conv(nn.Module):
    """A (transposed) convolution, a norm over the channels of each pixel, an activation."""

    def __init__(
        self, layer: nn.Conv2d | nn.ConvTranspose2d, *, act: Activation, norm: Norm
    ) -> None:
        super().__init__()
        self.conv = layer
        self.norm = norm_layer(norm, layer.out_channels)
        self.act = ACTIVATIONS[act]
        glorot_(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to `[N, C', H', W']`."""
        return self.act(channels_first(self.norm(channels_last(self.conv(x)))))
