"""A file in memory through which large tensors reach a client on the same host."""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from wmrun_envserver.wire import messages, tensors

_LOG = logging.getLogger(__name__)

MIN_REPLY_BYTES = 150_000
"""Smaller replies gain too little over a message for a file to be worth it."""
_TMPFS = Path("/dev/shm")
_ALIGNMENT = 64


class SharedMemory:
    """Two halves by turns: what one call wrote stays readable while the next one runs.

    The client takes the file's name away as soon as it has mapped it.
    """

    def __init__(self, half_bytes: int) -> None:
        """Make a file for replies of `half_bytes`; raises `OSError` where there is no room."""
        self._half_bytes = -(-half_bytes // _ALIGNMENT) * _ALIGNMENT
        self.num_bytes = 2 * self._half_bytes
        directory = Path(tempfile.mkdtemp(prefix="wmrun-env-", dir=_TMPFS))  # of mode 0700
        self.path = directory / "rows"
        try:
            self._map = self._mapped()
        except BaseException:
            self._remove()
            raise
        self._bytes = np.frombuffer(self._map, np.uint8)

    def half(self, seq: int) -> Half:
        """Return the place of the reply to call `seq`, to be filled from its start."""
        start = 0 if seq % 2 else self._half_bytes
        return Half(self._bytes[start : start + self._half_bytes], start)

    def close(self) -> None:
        """Remove what the client has left of the file; those who mapped it keep it."""
        self._remove()

    def _mapped(self) -> mmap.mmap:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Taken now: a write to a page that a full tmpfs lacks would kill the process.
            os.posix_fallocate(fd, 0, self.num_bytes)
            return mmap.mmap(fd, self.num_bytes)
        finally:
            os.close(fd)

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            self.path.parent.rmdir()


class Half:
    """Takes the tensors of one reply."""

    def __init__(self, space: np.ndarray, start: int) -> None:
        self._space = space
        self._start = start
        self._filled = 0

    def encode(self, array: np.ndarray) -> messages.Tensor:
        """Return `array` as a message that says where its bytes are; text is in the message."""
        if array.dtype == tensors.TEXT or array.nbytes == 0:
            return tensors.encode(array)
        first = self._filled
        place = self._space[first : first + array.nbytes]
        place.view(array.dtype).reshape(array.shape)[...] = array
        self._filled += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        return messages.Tensor(
            dtype=tensors.code_of(array.dtype),
            shape=array.shape,
            encoding=messages.SHM,
            shm_offset=self._start + first,
            shm_length=array.nbytes,
        )


def shared_memory(leaf_bytes: list[int]) -> SharedMemory | None:
    """Return memory for replies of leaves of so many bytes, None where it is no use or no room."""
    if sum(leaf_bytes) < MIN_REPLY_BYTES:
        return None
    try:
        return SharedMemory(sum(leaf_bytes) + _ALIGNMENT * len(leaf_bytes))
    except OSError as error:
        _LOG.warning("no shared memory for a session: %s", error.strerror)
        return None


def is_available() -> bool:
    """Return whether this host has a file system in memory that we may write to."""
    return os.access(_TMPFS, os.W_OK | os.X_OK)
