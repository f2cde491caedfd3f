"""The screen of a game as an observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wmrun_envserver.backends.frames import fit

if TYPE_CHECKING:
    import ale_py

    from wmrun_envserver.backends.options import ImageOptions


class AtariScreen:
    """Max-pools the frames drawn since the last image, and resizes the result.

    Objects that a game draws in every other frame only are on all pooled images (Mnih et al. 2015,
    Methods). Gray is ALE's own, from the palette of the console.
    """

    def __init__(self, ale: ale_py.ALEInterface, image: ImageOptions, resize: str) -> None:
        size = ale.getScreenDims()
        self._draw = ale.getScreenGrayscale if image.grayscale else ale.getScreenRGB
        self._pooled = np.zeros(size if image.grayscale else (*size, 3), np.uint8)
        self._frame = np.zeros_like(self._pooled)
        self._begun = False
        self._image = image
        self._area = AreaResize(size, image.size) if resize == "area" else None

    def draw(self) -> None:
        """Add the current frame."""
        if self._begun:
            self._draw(self._frame)
            np.maximum(self._pooled, self._frame, out=self._pooled)
        else:
            self._draw(self._pooled)
        self._begun = True

    def image(self) -> np.ndarray:
        """Return the image of the frames added since the last call, uint8 `[H, W, C]`."""
        self._begun = False
        height, width = self._pooled.shape[:2]
        frame = self._pooled.reshape(height, width, -1)
        return fit(frame.copy(), self._image) if self._area is None else self._area(frame)


class AreaResize:
    """Makes each pixel the mean of the area under it, parts of pixels counted as such."""

    def __init__(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        self._rows, self._columns = (
            _coverage(old_side, new_side) for old_side, new_side in zip(old, new, strict=True)
        )

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return uint8 `[h, w, C]` as uint8 `[H, W, C]`."""
        height, width, channels = frame.shape
        rows = self._rows @ frame.reshape(height, width * channels).astype(np.float32)
        image = self._columns @ rows.reshape(-1, width, channels)
        return np.rint(image).astype(np.uint8)


def _coverage(old: int, new: int) -> np.ndarray:
    """Return how much of each new interval every old one covers, float32 `[new, old]`."""
    edges = np.linspace(0, old, new + 1)
    starts = np.arange(old)
    covered = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return (np.clip(covered, 0, None) * (new / old)).astype(np.float32)
