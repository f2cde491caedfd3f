"""What the cameras of the stand-in show."""

from __future__ import annotations

import numpy as np

from tests.envserver.unity.standin.scene import Sight

HEIGHT, WIDTH = 8, 10
LARGE = 1100
"""Side of a raw image of 4.8 MB."""


def pixels(sight: Sight, channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return uint8 `[height, width, channels]`."""
    rows, columns, depths = np.indices((height, width, channels))
    return ((20 * sight.age + 7 * rows + 3 * columns + 50 * depths) % 256).astype(np.uint8)
