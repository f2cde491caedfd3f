"""The image encoder of Dreamer V1 and V2."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from wmrun.encoders.base import Encoder
from wmrun.errors import ComponentError
from wmrun.nn.images import Conv, ImageStack, channels_first, channels_last, scale_images
from wmrun.nn.layers import Activation, Norm
from wmrun.nn.observations import ObsSpace
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
        self._images = ImageStack(obs_space, "the cnn encoder")
        _check_size(self._images)
        channels = [self._images.channels] + [depth * 2**i for i in range(LAYERS)]
        self.convs = nn.Sequential(
            *(
                Conv(nn.Conv2d(channels[i], channels[i + 1], KERNEL, STRIDE), act=act, norm=norm)
                for i in range(LAYERS)
            )
        )
        sides = last_sides(self._images, LAYERS)
        self.embed_size = sides[0] * sides[1] * channels[-1]

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        pixels = self._images.pixels(obs)
        maps = self.convs(channels_first(scale_images(pixels.flatten(0, -4))))
        return channels_last(maps).reshape(*pixels.shape[:-3], self.embed_size)


def last_sides(images: ImageStack, layers: int) -> tuple[int, int]:
    """Return height and width after so many convolutions."""
    height, width = images.height, images.width
    for _ in range(layers):
        height, width = ((side - KERNEL) // STRIDE + 1 for side in (height, width))
    return height, width


def _check_size(images: ImageStack) -> None:
    if min(images.height, images.width) < SMALLEST_SIDE:
        raise ComponentError(
            f"the cnn encoder shrinks images with four convolutions and needs sides of at least "
            f"{SMALLEST_SIDE} pixels, but {images.keys[0]!r} is {images.height}x{images.width}",
            hint="Set env.image.size: [64, 64], the size that the published agents use, if the "
            "environment renders it; set encoder and decoder to cnn_residual, which takes sides "
            "from 4 pixels, if it is so small; move the channels last if it has them first.",
        )
