"""The image decoder of Dreamer V3."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
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
    by squared error. Sides must be multiples of 16. Several images are split off the channels in
    the order of the observation space.

    Args:
        depth: channels of the maps, which have 4, 4, 3 and 2 times as many.
        units: half the units of the hidden layer for `stoch`.
        blocks: blocks of `deter`.
        act: activation after each layer.
        norm: normalisation over the channels of each pixel, and of the hidden layer.
        strided: whether maps are doubled by transposed convolutions with stride 2, as the paper
            says, instead.
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
        strided: bool = False,
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
        self.layers = nn.Sequential(
            *(_Grow(m, n, act=act, norm=norm, strided=strided) for m, n in pairwise(depths))
        )
        self.out = _doubling(depths[-1], self._images.channels, strided=strided)
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the last kernel anew by `scheme`; the other layers do so themselves."""
        initialize_conv(self.out, scheme)

    def forward(self, feat: Tensor) -> dict[str, SquaredError]:
        rows = feat.flatten(0, -2)
        maps = self._act(self.norm(self._first_map(rows)))
        pixels = torch.sigmoid(self.out(self.layers(channels_first(maps))))
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
    """Twice the sides, a norm, an activation."""

    def __init__(
        self, in_size: int, out_size: int, *, act: Activation, norm: Norm, strided: bool
    ) -> None:
        super().__init__()
        self.conv = _doubling(in_size, out_size, strided=strided)
        self.norm = norm_layer(norm, out_size)
        self._act = ACTIVATIONS[act]
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        initialize_conv(self.conv, scheme)

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(self._act(self.norm(channels_last(self.conv(x)))))


class _RepeatConv(nn.Conv2d):
    """Repeats every pixel 2x2 and applies a 5x5 convolution; `[N, C, H, W]` to `[N, C', 2H, 2W]`.

    The 5 taps of an output row fall on 3 rows of the input, which rows with even and odd numbers
    group differently: 3x3 convolutions with sums of the kernel's taps, one for each of the four
    kinds of output pixel, take 9 products where the definition takes 25.
    """

    fold: Tensor

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__(in_size, out_size, KERNEL)
        even = [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
        odd = [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]
        self.register_buffer("fold", torch.tensor([even, odd]).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        kernels = torch.einsum("apk,bql,ockl->abocpq", self.fold, self.fold, self.weight)
        kinds = nn.functional.conv2d(x, kernels.flatten(0, 2), self.bias.repeat(4), padding=1)
        pixels = channels_last(kinds).unflatten(-1, (2, 2, self.out_channels))
        # [N, H, W, 2, 2, C] to [N, H, 2, W, 2, C]
        return channels_first(pixels.transpose(2, 3).flatten(3, 4).flatten(1, 2))


def _doubling(in_size: int, out_size: int, *, strided: bool) -> nn.Conv2d | nn.ConvTranspose2d:
    if strided:
        return nn.ConvTranspose2d(
            in_size, out_size, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1
        )
    return _RepeatConv(in_size, out_size)
