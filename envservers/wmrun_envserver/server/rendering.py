"""Frames for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.server.hosts import ENV_ERRORS, Host, failure_of
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.status import Reason


def draw(host: Host, slots: Sequence[int], max_width: int, max_bytes: int) -> messages.RenderReply:
    """Return one frame per slot, no wider than `max_width` (0: as the environment draws them).

    Raises `Refused` for a simulator that cannot draw, draws something else than uint8
    `[height, width, 3]`, or more than `max_bytes` in all.
    """
    reply = messages.RenderReply(slots=slots)
    for slot in slots:
        frame = shrunk(_frame(host, slot), max_width)
        reply.frames.append(tensors.encode(frame))
        if reply.ByteSize() > max_bytes:
            raise Refused(
                Reason.TOO_LARGE,
                f"the frames of {len(slots)} slots, {list(frame.shape)} each, do not fit into a "
                f"message of {max_bytes} bytes: name fewer slots, or a smaller max_width",
                field="max_width",
            )
    return reply


def shrunk(frame: np.ndarray, max_width: int) -> np.ndarray:
    """Return `frame` at most `max_width` wide, its aspect kept, each pixel the mean of an area."""
    height, width = frame.shape[:2]
    if max_width == 0 or width <= max_width:
        return frame
    new_height = max(1, round(height * max_width / width))
    shrunk_rows = _averaged(frame.astype(np.float32), new_height, 0)
    return np.rint(_averaged(shrunk_rows, max_width, 1)).astype(np.uint8)


def _averaged(array: np.ndarray, size: int, axis: int) -> np.ndarray:
    old = array.shape[axis]
    edges = np.arange(size) * old // size
    counts = np.diff(edges, append=old).astype(np.float32)
    sums = np.add.reduceat(array, edges, axis=axis)
    mean: np.ndarray = sums / (counts[:, None, None] if axis == 0 else counts[:, None])
    return mean


def _frame(host: Host, slot: int) -> np.ndarray:
    try:
        frame = host.render(slot)
    except Refused:
        raise
    except ENV_ERRORS as error:
        slots, reason, text = failure_of((slot,), error, debug=False)
        raise Refused(reason, f"slot {slot} cannot be drawn: {text}", slots=slots) from error
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise Refused(
            Reason.ENV_CONTRACT,
            f"slot {slot} drew {frame.dtype}{list(frame.shape)}, not uint8[height, width, 3]",
            slots=(slot,),
        )
    return frame
