"""What a killed run must still know about its replay."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


class Marks:
    """Two durable row indices: rows below `lost` may be overwritten, those below `saved` reached
    the disk."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        stored = os.pread(self._fd, 16, 0) or bytes(16)
        self.lost, self.saved = np.frombuffer(stored, "<i8").tolist()

    def put(self, *, lost: int | None = None, saved: int | None = None) -> None:
        """Change one or both, and return when that has reached the disk."""
        self.lost = self.lost if lost is None else lost
        self.saved = self.saved if saved is None else saved
        os.pwrite(self._fd, np.array([self.lost, self.saved], "<i8").tobytes(), 0)
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
