"""What the image encoder and the image decoder of Dreamer V3 share."""

from __future__ import annotations

from typing import Final

from wmrun.errors import ComponentError
from wmrun.nn.images import ImageStack

MULTIPLES: Final = (2, 3, 4, 4)
"""Channels of the four convolutions, as multiples of depth."""
SHRINK: Final = 2 ** len(MULTIPLES)
KERNEL: Final = 5


def check_sides(images: ImageStack, owner: str) -> None:
    """Raise `ComponentError` naming `owner` when the sides are not multiples of 16."""
    if images.height % SHRINK or images.width % SHRINK:
        raise ComponentError(
            f"{owner} needs sides that are multiples of {SHRINK}, but {images.keys[0]!r} is "
            f"{images.height}x{images.width}",
            hint="Set env.image.size: [64, 64] or [96, 96].",
        )
