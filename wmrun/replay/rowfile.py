"""Rows of fixed size in one sparse file, a ring for every env slot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wmrun.replay.errors import ReplayError

CHUNK_ROWS = 64
"""Rows of a slot that are written together. The kernel keeps what is written at once in large
pages, and copies those twice as fast: a batch of 16x64 images of 64x64x3 in 0.75 ms, not 1.5 ms."""

CHUNK_BYTES = 1 << 26
"""Most memory for rows that wait to be written, over all slots."""


class RowFile:
    """A file of `[slots, ring_rows]` rows of one dtype, found by slot and row index; indices wrap.

    It is read and written by position, not through a mapping. That is faster than a mapping whose
    pages are given back, which must be done lest the whole replay counts as this process's memory;
    and a full disk is an error to report, not SIGBUS.
    The newest rows of a slot wait in memory until a chunk of them is complete or `sync` is called.
    """

    def __init__(
        self, path: Path, slots: int, ring_rows: int, dtype: np.dtype, *, create: bool
    ) -> None:
        self.path = path
        self._ring_rows = ring_rows
        self._row_bytes = dtype.itemsize
        self._written = np.zeros(slots, np.int64)
        self._waiting = np.zeros(slots, np.int64)
        chunk = CHUNK_BYTES // (slots * dtype.itemsize)
        self._chunk = np.empty((slots, max(1, min(CHUNK_ROWS, chunk, ring_rows))), dtype)
        self._fd = self._open(slots * ring_rows * dtype.itemsize, create)

    def make_room(self, slots: np.ndarray) -> None:
        """Make sure that `append` to these slots need not write.

        Raises `ReplayError` when the disk is full.
        """
        for slot in slots[self._waiting[slots] == self._chunk.shape[1]].tolist():
            self._write_chunk(slot)

    def append(self, slots: np.ndarray, rows: npt.ArrayLike) -> None:
        """Add `rows[i]` to slot `slots[i]`, or the same row to all of them; no slot comes twice."""
        self._chunk[slots, self._waiting[slots]] = rows
        self._waiting[slots] += 1

    def read(self, slots: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` `[B, T, ...]`, C-contiguous, with T rows from `starts[b]` on of `slots[b]`."""
        length = out.shape[1]
        in_ring = starts % self._ring_rows
        offsets = (slots * self._ring_rows + in_ring) * self._row_bytes
        at_once = (in_ring + length <= self._ring_rows) & (starts + length <= self._written[slots])
        windows, size = out.reshape(-1).view(np.uint8).data, length * self._row_bytes
        for b, (simple, offset) in enumerate(zip(at_once.tolist(), offsets.tolist(), strict=True)):
            if simple:
                self._read_at(offset, windows[b * size : (b + 1) * size])
            else:
                self._read_pieces(int(slots[b]), int(starts[b]), out[b])

    def put(self, slot: int, index: int, rows: np.ndarray) -> None:
        """Replace rows `[T, ...]`, C-contiguous and of the file's dtype, from `index` on."""
        written = int(self._written[slot])
        on_disk = min(len(rows), max(0, written - index))
        for part, place in self._pieces(index, rows[:on_disk]):
            self._write(slot, place, part)
        if on_disk < len(rows):
            first = index + on_disk - written
            self._chunk[slot, first : first + len(rows) - on_disk] = rows[on_disk:]

    def put_newest(self, slots: np.ndarray, rows: np.ndarray) -> None:
        """Replace the newest row of slot `slots[i]` by `rows[i]`; no slot comes twice."""
        newest = self._waiting[slots] - 1
        if newest.min() >= 0:
            self._chunk[slots, newest] = rows
            return
        indices = (self._written[slots] + newest).tolist()
        contiguous = np.ascontiguousarray(rows, self._chunk.dtype)
        for slot, index, row in zip(slots.tolist(), indices, contiguous, strict=True):
            self.put(slot, index, row[None])

    def seek(self, indices: np.ndarray) -> None:
        """Forget the rows of slot `i` from `indices[i]` on, where its next row will be."""
        self._written[:] = indices
        self._waiting[:] = 0

    def sync(self) -> None:
        """Return when every row has reached the disk."""
        for slot in np.flatnonzero(self._waiting).tolist():
            self._write_chunk(slot)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file. Rows that wait are not written: no checkpoint speaks of them."""
        os.close(self._fd)

    def _read_pieces(self, slot: int, index: int, out: np.ndarray) -> None:
        written = int(self._written[slot])
        on_disk = min(len(out), max(0, written - index))
        for part, place in self._pieces(index, out[:on_disk]):
            self._read_at(self._offset(slot, place), part.data)
        if on_disk < len(out):
            first = index + on_disk - written
            out[on_disk:] = self._chunk[slot, first : first + len(out) - on_disk]

    def _read_at(self, offset: int, out: memoryview) -> None:
        if os.preadv(self._fd, [out], offset) != out.nbytes:
            raise self._cannot("read", "it ends too early")

    def _write_chunk(self, slot: int) -> None:
        rows = self._chunk[slot, : self._waiting[slot]]
        for part, index in self._pieces(int(self._written[slot]), rows):
            self._write(slot, index, part)
        self._written[slot] += len(rows)
        self._waiting[slot] = 0

    def _write(self, slot: int, index: int, rows: np.ndarray) -> None:
        try:
            written = os.pwrite(self._fd, rows.data, self._offset(slot, index))
        except OSError as error:
            raise self._cannot("write", error.strerror) from error
        if written != rows.nbytes:
            raise self._cannot("write", "the disk is full")

    def _pieces(self, index: int, rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Split rows that begin at `index` where the ring ends."""
        head = self._ring_rows - index % self._ring_rows
        pieces = [(rows[:head], index), (rows[head:], index + head)]
        return [piece for piece in pieces if len(piece[0])]

    def _offset(self, slot: int, index: int) -> int:
        return (slot * self._ring_rows + index % self._ring_rows) * self._row_bytes

    def _open(self, size: int, create: bool) -> int:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)
            if create:
                os.ftruncate(fd, size)
            found = os.fstat(fd).st_size
        except OSError as error:
            raise self._cannot("open", error.strerror) from error
        if found != size:
            raise self._cannot("open", f"it has {found:,} bytes, expected {size:,}")
        return fd

    def _cannot(self, verb: str, reason: str | None) -> ReplayError:
        return ReplayError(f"Cannot {verb} the replay file {self.path}: {reason}.")
