"""An image encoder with residual connections."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from wmrun.encoders.base import Encoder
from wmrun.encoders.cnn import KERNEL, STRIDE, last_sides
from wmrun.nn.images import (
    Conv,
    ImageStack,
    Residual,
    channels_first,
    channels_last,
    residual_stages,
    scale_images,
)
from wmrun.nn.layers import Activation, Norm
from wmrun.nn.observations import ObsSpace
from wmrun.registry.ranges import PositiveInt


class CnnResidualEncoder(Encoder):
    """Stages of a convolution that halves the image and a residual block; no Dreamer's own.

    The convolutions are those of cnn, with kernel 4, stride 2 and no padding. There are as many
    stages as the shorter side has room for: four for 46 to 93 pixels, one for 4 to 9. With the
    defaults, 64x64 pixels make an embedding of 1024.

    Args:
        depth: channels of the first stage; each following one has twice as many.
        act: activation after each convolution.
        norm: normalisation over the channels of each pixel, before the activation.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        depth: PositiveInt = 32,
        act: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self._images = ImageStack(obs_space, "the cnn_residual encoder")
        count = residual_stages(self._images, "the cnn_residual encoder")
        channels = [self._images.channels] + [depth * 2**i for i in range(count)]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    Conv(
                        nn.Conv2d(channels[i], channels[i + 1], KERNEL, STRIDE), act=act, norm=norm
                    ),
                    Residual(channels[i + 1], act=act, norm=norm),
                )
                for i in range(count)
            )
        )
        sides = last_sides(self._images, count)
        self.embed_size = sides[0] * sides[1] * channels[-1]

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        pixels = self._images.pixels(obs)
        maps = self.stages(channels_first(scale_images(pixels.flatten(0, -4))))
        return channels_last(maps).reshape(*pixels.shape[:-3], self.embed_size)
