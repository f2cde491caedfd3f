"""The image encoder of Dreamer V1 and V2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wmrun.encoders.base import Encoder
from wmrun.errors import ComponentError
from wmrun.nn.images import Conv, channels_first, channels_last, scale_images
from wmrun.nn.layers import Activation, Norm
from wmrun.nn.observations import ObsSpace, image_shapes
from wmrun.registry.ranges import PositiveInt

KERNEL, STRIDE, LAYERS = 4, 2, 4
SMALLEST_SIDE = 46


class CnnEncoder(Encoder):
    """Four convolutions with kernel 4 and stride 2, flattened (V2 nets.py:183-224).

    There is no padding; the order is H, W, C.

    Several images are concatenated on channels in the order of the observation space. 64 pixels
    shrink to 31, 14, 6 and 2; any image with sides of at least 46 pixels fits.

    Args:
        depth: channels of the first convolution; each following one has twice as many.
        act: activation after each convolution.
        norm: normalisation over the channels of each pixel, before the activation.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        depth: PositiveInt = 48,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        shapes = image_shapes(obs_space, "the cnn encoder")
        height, width, _ = next(iter(shapes.values()))
        _check_size(next(iter(shapes)), height, width)
        self._keys = tuple(shapes)
        channels = [sum(c for _, _, c in shapes.values())] + [depth * 2**i for i in range(LAYERS)]
        self.convs = nn.Sequential(
            *(
                Conv(nn.Conv2d(channels[i], channels[i + 1], KERNEL, STRIDE), act=act, norm=norm)
                for i in range(LAYERS)
            )
        )
        self.embed_size = _last_side(height) * _last_side(width) * channels[-1]

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        images = [obs[key] for key in self._keys]
        pixels = images[0] if len(images) == 1 else torch.cat(images, -1)
        maps = self.convs(channels_first(scale_images(pixels.flatten(0, -4))))
        return channels_last(maps).reshape(*pixels.shape[:-3], self.embed_size)


def _last_side(side: int) -> int:
    for _ in range(LAYERS):
        side = (side - KERNEL) // STRIDE + 1
    return side


def _check_size(key: str, height: int, width: int) -> None:
    if min(height, width) < SMALLEST_SIDE:
        raise ComponentError(
            f"the cnn encoder shrinks images with four convolutions and needs sides of at least "
            f"{SMALLEST_SIDE} pixels, but {key!r} is {height}x{width}",
            hint="Set env.image.size: [64, 64], the size that the published agents use.",
        )
