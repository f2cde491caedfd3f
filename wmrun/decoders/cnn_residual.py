"""An image decoder with residual connections."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.decoders.cnn import STRIDE
from wmrun.nn.distributions import UnitNormal
from wmrun.nn.images import (
    Conv,
    ImageStack,
    Residual,
    channels_last,
    growing_kernels,
    residual_stages,
)
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import Activation, Dense, Norm
from wmrun.nn.observations import ObsSpace
from wmrun.registry.ranges import PositiveInt


class CnnResidualDecoder(Decoder):
    """The decoder cnn with a residual block after every hidden map; no Dreamer's own.

    It has as many transposed convolutions as the cnn_residual encoder has stages. Predicts means
    of unit-variance normals over pixels in [-0.5, 0.5].

    Args:
        depth: channels of the last hidden map; each one before it has twice as many, the first,
            of one pixel, 32 times.
        act: activation between the transposed convolutions.
        norm: normalisation over the channels of each pixel, before the activation.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        stoch_size: int,
        deter_size: int,
        *,
        depth: PositiveInt = 32,
        act: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self._images = ImageStack(obs_space, "the cnn_residual decoder")
        count = residual_stages(self._images, "the cnn_residual decoder")
        maps = [32 * depth] + [depth * 2**i for i in reversed(range(count - 1))]
        heights = growing_kernels(self._images.height, count)
        widths = growing_kernels(self._images.width, count)
        kernels = list(zip(heights, widths, strict=True))
        self.linear = Dense(stoch_size + deter_size, maps[0])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    Conv(
                        nn.ConvTranspose2d(maps[i], maps[i + 1], kernels[i], STRIDE),
                        act=act,
                        norm=norm,
                    ),
                    Residual(maps[i + 1], act=act, norm=norm),
                )
                for i in range(count - 1)
            )
        )
        self.out = nn.ConvTranspose2d(maps[-1], self._images.channels, kernels[-1], STRIDE)
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the last kernel anew by `scheme`; the other layers do so themselves."""
        initialize_conv(self.out, scheme)

    def forward(self, feat: Tensor) -> dict[str, UnitNormal]:
        maps = self.linear(feat).reshape(-1, self.linear.out_features, 1, 1)
        pixels = channels_last(self.out(self.stages(maps)))
        return self._images.predictions(pixels.unflatten(0, feat.shape[:-1]))

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._images.targets(obs)
