"""The image decoder of Dreamer V3."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.nn.blocks import BlockDense, check_blocks
from wmrun.nn.cnn_v3 import KERNEL, MULTIPLES, SHRINK, check_sides
from wmrun.nn.distributions import SquaredError
from wmrun.nn.images import ImageStack, channels_first, channels_last
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import ACTIVATIONS, Activation, Dense, Hidden, Norm, norm_layer, width
from wmrun.nn.observations import ObsSpace
from wmrun.registry.ranges import PositiveInt, Width


class CnnV3Decoder(Decoder):
    """A small map from `deter` and `stoch`, doubled four times (V3 3.3; rssm.py:308-356).

    Each block of `deter` makes some channels of the map, to which `stoch` adds through a hidden
    layer. Every doubling repeats pixels and applies a 5x5 convolution. Predicts pixels in [0, 1],
    by squared error. Sides must be multiples of 16.

    Args:
        depth: channels of the maps, which have 4, 4, 3 and 2 times as many.
        units: half the units of the hidden layer for `stoch`.
        blocks: blocks of `deter`.
        act: activation after each layer.
        norm: normalisation over the channels of each pixel, and of the hidden layer.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        stoch_size: int,
        deter_size: int,
        *,
        depth: Width = None,
        units: Width = None,
        blocks: PositiveInt = 8,
        act: Activation = "silu",
        norm: Norm = "rms",
    ) -> None:
        super().__init__()
        self._images = ImageStack(obs_space, "the cnn_v3 decoder")
        check_sides(self._images, "the cnn_v3 decoder")
        depths = [width(depth, "depth") * multiple for multiple in reversed(MULTIPLES)]
        check_blocks(deter_size, blocks, "deter")
        check_blocks(depths[0], blocks, f"{MULTIPLES[-1]} times depth")
        self._map = (self._images.height // SHRINK, self._images.width // SHRINK, depths[0])
        size = self._map[0] * self._map[1] * self._map[2]
        self._blocks, self._stoch_size = blocks, stoch_size
        self.from_deter = BlockDense(blocks, deter_size, size)
        self.stoch_hidden = Hidden(stoch_size, 2 * width(units, "units"), act=act, norm=norm)
        self.from_stoch = Dense(2 * width(units, "units"), size)
        self.norm = norm_layer(norm, depths[0])
        self._act = ACTIVATIONS[act]
        self.layers = nn.Sequential(*(_Grow(m, n, act=act, norm=norm) for m, n in pairwise(depths)))
        self.out = nn.Conv2d(depths[-1], self._images.channels, KERNEL, padding=KERNEL // 2)
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the last kernel anew by `scheme`; the other layers do so themselves."""
        initialize_conv(self.out, scheme)

    def forward(self, feat: Tensor) -> dict[str, SquaredError]:
        rows = feat.flatten(0, -2)
        maps = self._act(self.norm(self._first_map(rows)))
        pixels = torch.sigmoid(self.out(_doubled(self.layers(channels_first(maps)))))
        mean = channels_last(pixels).unflatten(0, feat.shape[:-1])
        return {key: SquaredError(part, 3) for key, part in self._images.split(mean).items()}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: image + 0.5 for key, image in self._images.targets(obs).items()}

    def _first_map(self, feat: Tensor) -> Tensor:
        """Return the map `[N, H, W, C]` that everything grows from."""
        stoch, deter = feat[:, : self._stoch_size], feat[:, self._stoch_size :]
        height, columns, channels = self._map
        by_block = self.from_deter(deter).view(
            -1, self._blocks, height, columns, channels // self._blocks
        )
        own = by_block.permute(0, 2, 3, 1, 4).flatten(-2)
        return own + self.from_stoch(self.stoch_hidden(stoch)).view(-1, *self._map)


class _Grow(nn.Module):
    """Twice the sides, a convolution, a norm, an activation."""

    def __init__(self, in_size: int, out_size: int, *, act: Activation, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_size, out_size, KERNEL, padding=KERNEL // 2)
        self.norm = norm_layer(norm, out_size)
        self._act = ACTIVATIONS[act]
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        initialize_conv(self.conv, scheme)

    def forward(self, x: Tensor) -> Tensor:
        maps = channels_last(self.conv(_doubled(x)))
        return channels_first(self._act(self.norm(maps)))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
