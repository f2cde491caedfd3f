"""Rendered frames brought to the size and colours asked for."""

from __future__ import annotations

import numpy as np

from wmrun_envserver.backends.options import ImageOptions
from wmrun_envserver.wire import spaces

# ITU-R BT.601 luma, what the Atari and PIL grayscale conversions use.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def image_space(image: ImageOptions) -> spaces.Box:
    """Return the space of the frames that `fit` makes: uint8 `[H, W, C]`."""
    return spaces.Box(image.shape, "uint8", 0, 255, "IMAGE_HWC")


def fit(frame: np.ndarray, image: ImageOptions) -> np.ndarray:
    """Return a uint8 frame `[h, w, C]` (C: 1 or 3) as `[H, W, C]` of `image`.

    Other sizes are resampled with a triangle filter, which averages when it shrinks.
    """
    if frame.shape[:2] != image.size:
        frame = _resize(frame, image.size)
    if frame.ndim == 2:
        frame = frame[..., None]
    channels = image.shape[-1]
    if frame.shape[-1] == channels:
        return frame
    if channels == 1:
        return np.rint(frame @ _LUMA).astype(np.uint8)[..., None]
    return np.repeat(frame, channels, axis=-1)


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image  # an extra: families that render at the size asked for do without

    height, width = size
    picture = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
