"""Frames to mp4."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SMALLEST_SIDE = 256
"""Pixels; smaller frames are enlarged by a whole factor, so that players show them sharp."""


def write_mp4(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write uint8 frames `[T, H, W, C]` (C 1 or 3) as H.264 that browsers play.

    Frames whose longer side is under 256 pixels are enlarged by a whole factor; an odd side gets
    one more row or column of its edge. The file appears under its name when it is complete.
    """
    import av  # 0.2 s and 40 MB that a run without videos does not need

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3):
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, expected uint8 [T, H, W, C]")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    factor = -(-SMALLEST_SIDE // max(frames.shape[1:3]))
    with av.open(
        str(unfinished), "w", format="mp4", options={"movflags": "faststart"}
    ) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = _shown(frames[0], factor).shape[:2]
        for frame in frames:
            shown = av.VideoFrame.from_ndarray(_shown(frame, factor), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    unfinished.replace(path)


def _shown(frame: np.ndarray, factor: int) -> np.ndarray:
    """Return `[H, W, C]` in colour, enlarged, with the even sides that yuv420p needs."""
    frame = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    odd_rows, odd_columns = frame.shape[0] % 2, frame.shape[1] % 2
    frame = np.pad(frame, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
    return np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3)))
