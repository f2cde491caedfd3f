"""The image decoder of Dreamer V1 and V2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.errors import ComponentError
from wmrun.nn.distributions import UnitNormal
from wmrun.nn.images import Conv, channels_last, scale_images
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import Activation, Dense, Norm
from wmrun.nn.observations import ObsSpace, image_shapes
from wmrun.registry.ranges import PositiveInt

KERNELS: Final = (5, 5, 6, 6)
STRIDE: Final = 2
SIDE: Final = 64


class CnnDecoder(Decoder):
    """A linear layer and four transposed convolutions to 64x64 pixels (V2 nets.py:236-281).

    The sides grow 1, 5, 13, 30, 64 with kernels 5, 5, 6, 6 and stride 2. Predicts means of
    unit-variance normals over pixels in [-0.5, 0.5]. Several images are split off the channels in
    the order of the observation space.

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
        shapes = image_shapes(obs_space, "the cnn decoder")
        _check_sizes(shapes)
        self._channels = {key: channels for key, (_, _, channels) in shapes.items()}
        maps = [32 * depth, 4 * depth, 2 * depth, depth]
        self.linear = Dense(stoch_size + deter_size, maps[0])
        self.convs = nn.Sequential(
            *(
                Conv(
                    nn.ConvTranspose2d(maps[i], maps[i + 1], KERNELS[i], STRIDE), act=act, norm=norm
                )
                for i in range(3)
            )
        )
        self.out = nn.ConvTranspose2d(depth, sum(self._channels.values()), KERNELS[3], STRIDE)
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the last kernel anew by `scheme`; the other layers do so themselves."""
        initialize_conv(self.out, scheme)

    def forward(self, feat: Tensor) -> dict[str, UnitNormal]:
        maps = self.linear(feat).reshape(-1, self.linear.out_features, 1, 1)
        pixels = channels_last(self.out(self.convs(maps)))
        pixels = pixels.unflatten(0, feat.shape[:-1])
        means = pixels.split(tuple(self._channels.values()), -1)
        keyed = zip(self._channels, means, strict=True)
        return {key: UnitNormal(mean, event_dims=3) for key, mean in keyed}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: scale_images(obs[key]) for key in self._channels}


def _check_sizes(shapes: Mapping[str, tuple[int, int, int]]) -> None:
    for key, (height, width, _) in shapes.items():
        if (height, width) != (SIDE, SIDE):
            raise ComponentError(
                f"the cnn decoder makes {SIDE}x{SIDE} images only, but {key!r} is {height}x{width}",
                hint=f"Set env.image.size: [{SIDE}, {SIDE}].",
            )
