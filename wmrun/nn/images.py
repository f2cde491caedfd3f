"""Images on their way into and out of convolutional networks, and the layer both ways share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wmrun.errors import ComponentError
from wmrun.nn.distributions import UnitNormal
from wmrun.nn.initializers import Init, initialize_conv
from wmrun.nn.layers import ACTIVATIONS, Activation, Norm, norm_layer
from wmrun.nn.observations import ObsSpace, image_shapes, is_image


def scale_images(image: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-0.5, 0.5]."""
    return image.to(torch.float32).div_(255).sub_(0.5)


def channels_first(image: Tensor) -> Tensor:
    """View `[N, H, W, C]` as `[N, C, H, W]` in channels-last memory, which costs no copy."""
    return image.permute(0, 3, 1, 2)


def channels_last(image: Tensor) -> Tensor:
    """View `[N, C, H, W]` as `[N, H, W, C]`."""
    return image.permute(0, 2, 3, 1)


class ImageStack:
    """The images of an observation as one, their channels one after the other.

    They stand in the order of the observation space. An image `[H, W]` has one channel. Raises
    `ComponentError` where `owner`, e.g. "the cnn encoder", cannot take the observation.
    """

    def __init__(self, obs_space: ObsSpace, owner: str) -> None:
        shapes = image_shapes(obs_space, owner)
        self.keys = tuple(shapes)
        self.height, self.width, _ = next(iter(shapes.values()))
        self.channels = sum(channels for _, _, channels in shapes.values())
        self._split = [channels for _, _, channels in shapes.values()]
        self._without_axis = {
            key for key, space in obs_space.items() if is_image(space) and len(space.shape) == 2
        }

    def pixels(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return the images as they came, uint8 `[..., H, W, C]`."""
        images = [self._image(key, obs) for key in self.keys]
        return images[0] if len(images) == 1 else torch.cat(images, -1)

    def split(self, stacked: Tensor) -> dict[str, Tensor]:
        """Return each image's part of `[..., H, W, C]`."""
        return dict(zip(self.keys, stacked.split(self._split, -1), strict=True))

    def predictions(self, mean: Tensor) -> dict[str, UnitNormal]:
        """Return unit-variance normals over each image, given all means `[..., H, W, C]`."""
        return {key: UnitNormal(part, event_dims=3) for key, part in self.split(mean).items()}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each image in [-0.5, 0.5]."""
        return {key: scale_images(self._image(key, obs)) for key in self.keys}

    def _image(self, key: str, obs: Mapping[str, Tensor]) -> Tensor:
        return obs[key].unsqueeze(-1) if key in self._without_axis else obs[key]


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


class Residual(nn.Module):
    """x + convolution(activation(norm(convolution(x)))), then activation; 3x3 kernels."""

    def __init__(self, channels: int, *, act: Activation, norm: Norm) -> None:
        super().__init__()
        self.inner = Conv(nn.Conv2d(channels, channels, 3, padding=1), act=act, norm=norm)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = ACTIVATIONS[act]
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the second kernel anew by `scheme`; the first does so itself."""
        initialize_conv(self.outer, scheme)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to the same shape."""
        return self.act(x + self.outer(self.inner(x)))


def residual_stages(images: ImageStack, owner: str) -> int:
    """Return how often convolutions with kernel 4 and stride 2 can halve the shorter side.

    Transposed convolutions that undo as many have kernels of at least 4. Raises `ComponentError`
    naming `owner` where it is less than once.
    """
    shorter = min(images.height, images.width)
    if shorter < 4:
        raise ComponentError(
            f"{owner} needs sides of at least 4 pixels, but {images.keys[0]!r} is "
            f"{images.height}x{images.width}",
            hint="Move the channels last if the environment has them first, or give it a larger "
            "image.",
        )
    return int(math.log2((shorter + 2) / 3))


def growing_kernels(side: int, layers: int) -> list[int]:
    """Return kernels of transposed convolutions with stride 2 that grow one pixel to `side`.

    A layer makes 2·(n - 1) + k pixels of n, so that side + 2^layers - 2 = Σ 2^(layers - 1 - i)·k_i.
    The kernels are as equal as that allows, the remainder's bits adding one to each: 64 pixels and
    four layers give 5, 5, 6, 6, those of the published agents.
    """
    base, rest = divmod(side + 2**layers - 2, 2**layers - 1)
    return [base + (rest >> (layers - 1 - i) & 1) for i in range(layers)]


def _deconv_point(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution to 1x1 maps `[N, C]`, where it is a matrix product.

    As a convolution, the decoder's first layer took half of the decoder's time on a CPU.
    """
    assert layer.bias is not None
    kernel = layer.weight.permute(0, 2, 3, 1)
    maps = (x @ kernel.flatten(1)).unflatten(-1, kernel.shape[1:])
    return channels_first(maps + layer.bias)
