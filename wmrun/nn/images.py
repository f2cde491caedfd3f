"""Images on their way into and out of convolutional networks, and the layer both ways share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.nn.initializers import Init, initialize_conv
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
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the kernel anew by `scheme`."""
        initialize_conv(self.conv, scheme)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to `[N, C', H', W']`."""
        if isinstance(self.conv, nn.ConvTranspose2d) and x.shape[-2:] == (1, 1):
            maps = _deconv_point(x.flatten(1), self.conv)
        else:
            maps = self.conv(x)
        return self.act(channels_first(self.norm(channels_last(maps))))


def _deconv_point(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution to 1x1 maps `[N, C]`, where it is a matrix product.

    As a convolution, the decoder's first layer took half of the decoder's time on a CPU.
    """
    assert layer.bias is not None
    kernel = layer.weight.permute(0, 2, 3, 1)
    maps = (x @ kernel.flatten(1)).unflatten(-1, kernel.shape[1:])
    return channels_first(maps + layer.bias)
