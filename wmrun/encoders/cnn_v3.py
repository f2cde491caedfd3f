"""The image encoder of Dreamer V3."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from wmrun.encoders.base import Encoder
from wmrun.nn.cnn_v3 import KERNEL, MULTIPLES, SHRINK, check_sides
from wmrun.nn.images import ImageStack, channels_first, channels_last, scale_images
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import ACTIVATIONS, Activation, Norm, norm_layer, width
from wmrun.nn.observations import ObsSpace
from wmrun.registry.ranges import Width


class CnnV3Encoder(Encoder):
    """Four 5x5 convolutions that halve the sides, flattened (V3 3.3; rssm.py:226-245).

    Each is followed by 2x2 max-pooling, a norm over the channels of each pixel and an activation.
    Sides must be multiples of 16; the order is H, W, C. Among equal pixels torch sends the
    gradient of a maximum to one, where the original spreads it.

    Args:
        depth: channels of the convolutions, which have 2, 3, 4 and 4 times as many.
        act: activation after each convolution.
        norm: normalisation over the channels of each pixel.
        strided: whether convolutions have stride 2, as the paper says, instead of being pooled.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        depth: Width = None,
        act: Activation = "silu",
        norm: Norm = "rms",
        strided: bool = False,
    ) -> None:
        super().__init__()
        self._images = ImageStack(obs_space, "the cnn_v3 encoder")
        check_sides(self._images, "the cnn_v3 encoder")
        depths = [width(depth, "depth") * multiple for multiple in MULTIPLES]
        layers = pairwise([self._images.channels, *depths])
        self.layers = nn.Sequential(
            *(_Shrink(m, n, act=act, norm=norm, strided=strided) for m, n in layers)
        )
        rows, columns = self._images.height // SHRINK, self._images.width // SHRINK
        self.embed_size = rows * columns * depths[-1]

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        pixels = self._images.pixels(obs)
        maps = self.layers(channels_first(scale_images(pixels.flatten(0, -4))))
        return channels_last(maps).reshape(*pixels.shape[:-3], self.embed_size)


class _Shrink(nn.Module):
    """A convolution to half the sides, a norm, an activation."""

    def __init__(
        self, in_size: int, out_size: int, *, act: Activation, norm: Norm, strided: bool
    ) -> None:
        super().__init__()
        self._strided = strided
        self.conv = nn.Conv2d(
            in_size, out_size, KERNEL, stride=2 if strided else 1, padding=KERNEL // 2
        )
        self.norm = norm_layer(norm, out_size)
        self._act = ACTIVATIONS[act]
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        initialize_conv(self.conv, scheme)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        if not self._strided:
            maps = F.max_pool2d(maps, 2)
        return channels_first(self._act(self.norm(channels_last(maps))))
