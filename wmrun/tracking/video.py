"""Frames to mp4."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SMALLEST_SIDE = 256
"""Pixels; smaller frames are enlarged by a whole factor, so that players show them sharp."""


def write_mp4(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write uint8 frames `[T, H, W, C]` (C 1 or 3) as H.264 that browsers play."""
    import av  # 0.2 s and 40 MB that a run without videos does not need

    frames = _enlarged(frames if frames.shape[-1] == 3 else frames.repeat(3, axis=-1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "20"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Enlarge by a whole factor and crop to the even sides that yuv420p needs."""
    height, width = frames.shape[1:3]
    factor = max(1, -(-SMALLEST_SIDE // max(height, width)))
    frames = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.ascontiguousarray(frames[:, : height * factor // 2 * 2, : width * factor // 2 * 2])
