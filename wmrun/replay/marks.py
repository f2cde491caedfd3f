"""What a killed run must still know about its replay."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


class Marks:
    """Two durable row indices of every slot, int64 `[N]` each: rows below `lost` may be
    overwritten, those below `saved` reached the disk.

    Both of a slot lie within one sector, so that a power failure can tear the marks of different
    slots apart but not those of one.
    """

    def __init__(self, path: Path, num_envs: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pairs = np.zeros((num_envs, 2), "<i8")
        stored = os.pread(self._fd, self._pairs.nbytes, 0) or bytes(16)
        # One pair for all slots is from before they could have different numbers of rows.
        self._pairs[:] = np.frombuffer(stored, "<i8").reshape(-1, 2)

    @property
    def lost(self) -> np.ndarray:
        return self._pairs[:, 0]

    @property
    def saved(self) -> np.ndarray:
        return self._pairs[:, 1]

    def put(self, *, lost: np.ndarray | None = None, saved: np.ndarray | None = None) -> None:
        """Change one or both, and return when that has reached the disk."""
        if lost is not None:
            self._pairs[:, 0] = lost
        if saved is not None:
            self._pairs[:, 1] = saved
        os.pwrite(self._fd, self._pairs.tobytes(), 0)
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
