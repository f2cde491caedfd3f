"""The image decoder of Dreamer V1 and V2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.errors import ComponentError
from wmrun.nn.distributions import UnitNormal
from wmrun.nn.images import Conv, ImageStack, channels_last, growing_kernels
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import Activation, Dense, Norm
from wmrun.nn.observations import ObsSpace
from wmrun.registry.ranges import PositiveInt

LAYERS: Final = 4
STRIDE: Final = 2
SIDES: Final = range(16, 129)


class CnnDecoder(Decoder):
    """A linear layer and four transposed convolutions (V2 nets.py:236-281).

    The sides grow 1, 5, 13, 30, 64 with kernels 5, 5, 6, 6 and stride 2; other sides from 16 to 128
    pixels get kernels as equal as they can be. Predicts means of unit-variance normals over pixels
    in [-0.5, 0.5]. Several images are split off the channels in the order of the observation space.

    Args:
        depth: channels of the last hidden map; the maps before it have 2, 4 and 32 times as many.
        act: activation between the transposed convolutions.
        norm: normalisation over the channels of each pixel, before the activation.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        stoch_size: int,
        deter_size: int,
        *,
        depth: PositiveInt = 48,
        act: Activation = "elu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self._images = ImageStack(obs_space, "the cnn decoder")
        _check_size(self._images)
        maps = [32 * depth, 4 * depth, 2 * depth, depth]
        heights = growing_kernels(self._images.height, LAYERS)
        widths = growing_kernels(self._images.width, LAYERS)
        kernels = list(zip(heights, widths, strict=True))
        self.linear = Dense(stoch_size + deter_size, maps[0])
        self.convs = nn.Sequential(
            *(
                Conv(
                    nn.ConvTranspose2d(maps[i], maps[i + 1], kernels[i], STRIDE), act=act, norm=norm
                )
                for i in range(LAYERS - 1)
            )
        )
        self.out = nn.ConvTranspose2d(depth, self._images.channels, kernels[-1], STRIDE)
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the last kernel anew by `scheme`; the other layers do so themselves."""
        initialize_conv(self.out, scheme)

    def forward(self, feat: Tensor) -> dict[str, UnitNormal]:
        maps = self.linear(feat).reshape(-1, self.linear.out_features, 1, 1)
        pixels = channels_last(self.out(self.convs(maps)))
        return self._images.predictions(pixels.unflatten(0, feat.shape[:-1]))

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._images.targets(obs)


def _check_size(images: ImageStack) -> None:
    if images.height not in SIDES or images.width not in SIDES:
        raise ComponentError(
            f"the cnn decoder makes images with sides from {SIDES[0]} to {SIDES[-1]} pixels, but "
            f"{images.keys[0]!r} is {images.height}x{images.width}",
            hint="Set env.image.size: [64, 64] if the environment renders it, or set the decoder "
            "to cnn_v3 (sides that 16 divides) or cnn_residual (sides from 4 pixels).",
        )
