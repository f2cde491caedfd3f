"""The replay: one stream of rows per env slot, kept in rings on disk."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np

from wmrun.replay.errors import ReplayError
from wmrun.replay.manifest import read_manifest, write_manifest
from wmrun.replay.marks import Marks
from wmrun.replay.rowfile import RowFile
from wmrun.replay.rows import EntrySpec, RowLayout, Rows, RowSpec


class Replay:
    """The newest `capacity` steps of `num_envs` slots, each slot a contiguous stream of rows.

    A row holds the observation, the `action` that led to it, the `reward` that came with it and the
    episode flags. Every slot keeps its newest `capacity // num_envs` rows. Slots need not advance
    together: rows are numbered from 0 in each, and those in `range(start[slot], stop[slot])` can be
    read.

    A directory that holds a replay is opened empty: `load` brings back the rows of a checkpoint,
    `append` without it begins a new recording. `spare` is a number of steps, over all slots, that
    stay on disk beyond the capacity: a checkpoint is restored with every row it had if no slot took
    more than its share of them since. Otherwise, rows overwritten after the checkpoint are missing
    from the restored replay.

    `entries` are values that the agent keeps with each row and may write again, such as its latent
    state. They are zero until they are written, and are not part of a checkpoint: after `load` they
    are what was written last, so a killed run's rows may have entries newer than its checkpoint.

    Raises `ReplayError` when the directory holds a replay of other rows or of another size. Only
    one `Replay` may have a directory open.
    """

    def __init__(
        self,
        directory: Path,
        spec: RowSpec,
        *,
        capacity: int,
        num_envs: int,
        spare: int = 0,
        entries: EntrySpec = MappingProxyType({}),
    ) -> None:
        if capacity < num_envs:
            raise ReplayError(f"replay.capacity {capacity} is less than env.num_envs {num_envs}.")
        self.directory = directory
        self.num_envs = num_envs
        self.slot_capacity = capacity // num_envs
        self._layout = RowLayout(spec, entries)
        self._stride = _stride(self.slot_capacity)
        self._stop = np.zeros(num_envs, np.int64)
        self._floor = np.zeros(num_envs, np.int64)
        self._begun = False
        self._ends_to_restore: list[bool] = []
        self._open(_ring_rows(capacity, num_envs, spare), capacity)

    @staticmethod
    def projected_bytes(
        spec: RowSpec,
        capacity: int,
        *,
        num_envs: int = 1,
        spare: int = 0,
        entries: EntrySpec = MappingProxyType({}),
    ) -> int:
        """Return the bytes on disk when all slots are full."""
        row_bytes = RowLayout(spec, entries).row_bytes
        return _ring_rows(capacity, num_envs, spare) * num_envs * row_bytes

    @property
    def start(self) -> np.ndarray:
        """Index of the oldest row that each slot still has, int64 `[N]`."""
        return np.maximum(self._stop - self.slot_capacity, self._floor)

    @property
    def stop(self) -> np.ndarray:
        """Rows appended to each slot so far, int64 `[N]`; its next row gets this index."""
        return self._stop.copy()

    def __len__(self) -> int:
        """Return the number of steps that can be sampled, over all slots."""
        return int((self._stop - self.start).sum())

    def num_windows(self, length: int) -> np.ndarray:
        """Return how many windows of `length` consecutive rows each slot has, int64 `[N]`."""
        return np.maximum(self._stop - self.start - length + 1, 0)

    def append(self, rows: Rows) -> None:
        """Append one row to each of the slots `rows.slots`.

        First the newest stored row of each slot in `rows.broken`, whether it is among those or not,
        gets `is_last`: that episode was cut off.
        Raises `ReplayError` when the disk is full, `ValueError` when a value does not fit the spec.
        """
        values = {
            **rows.obs,
            "action": rows.action,
            "reward": rows.reward,
            "is_first": rows.is_first,
            "is_last": rows.is_last,
            "is_terminal": rows.is_terminal,
        }
        slots = rows.slots
        self._check(slots, values)
        self._begin()
        self._reserve(slots)
        for slot in rows.broken:
            self._set_last(slot, True)
        records = np.empty(len(slots), self._layout.record)
        for key in records.dtype.names or ():
            records[key] = values[key]
        for file in self._files:
            file.make_room(slots)
        self._records.append(slots, records)
        for key, file in self._large.items():
            file.append(slots, values[key])
        for file in self._entries.values():
            file.append(slots, 0)
        self._stop[slots] += 1

    def write(
        self, slots: np.ndarray, starts: np.ndarray, entries: Mapping[str, np.ndarray]
    ) -> None:
        """Overwrite entries `[B, T, ...]` of the rows from `starts[b]` on of slot `slots[b]`.

        Rows that are gone are skipped. Where windows overlap, the last one in the batch stays.
        Raises `ReplayError` when the disk is full, `ValueError` when a value does not fit the spec.
        """
        self._begin()
        for key, values in entries.items():
            length = values.shape[1] if values.ndim > 1 else 0
            dtype = self._check_entry(key, values, (len(slots), length))
            values = np.ascontiguousarray(values, dtype)
            first = np.clip(self.start[slots] - starts, 0, length).tolist()
            stop = np.clip(self._stop[slots] - starts, 0, length).tolist()
            for b, (slot, start) in enumerate(zip(slots.tolist(), starts.tolist(), strict=True)):
                rows = values[b, first[b] : stop[b]]
                self._entries[key].put(slot, start + first[b], rows)

    def write_newest(self, slots: np.ndarray, entries: Mapping[str, np.ndarray]) -> None:
        """Overwrite entries `[n, ...]` of the newest row of each slot `slots[i]`; none comes twice.

        Raises as `write` does, and `ReplayError` when one of the slots has no row.
        """
        self._begin()
        empty = slots[self._stop[slots] == self.start[slots]]
        if entries and empty.size:
            raise ReplayError(f"Entries were written to env slot {empty[0]}, which has no rows.")
        for key, values in entries.items():
            self._check_entry(key, values, (len(slots),))
            self._entries[key].put_newest(slots, values)

    def read(self, slots: np.ndarray, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Return `length` rows from `starts[b]` on of slot `slots[b]`, as arrays `[B, T, ...]`."""
        out = self.empty_batch(len(slots), length)
        self.read_into(out, slots, starts)
        return out

    def read_into(
        self, out: Mapping[str, np.ndarray], slots: np.ndarray, starts: np.ndarray
    ) -> None:
        """Fill `out` (from `empty_batch`) with the windows of `read`."""
        self._begin()
        length = out["reward"].shape[1]
        records = self._read_records(slots, starts, length)
        for key, file in (*self._large.items(), *self._entries.items()):
            file.read(slots, starts, out[key])
        for key in records.dtype.names or ():
            out[key][...] = records[key]

    def read_ends(
        self, slots: np.ndarray, starts: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `is_first` and `is_last` of the rows that `read` would return, `[B, T]` each."""
        self._begin()
        records = self._read_records(slots, starts, length)
        return records["is_first"], records["is_last"]

    def empty_batch(self, batch_size: int, length: int) -> dict[str, np.ndarray]:
        """Allocate what `read_into` fills: an array `[B, T, ...]` for every key and entry."""
        return self._layout.empty_batch(batch_size, length)

    def save(self) -> dict[str, Any]:
        """Return the cursors as JSON, after every row they speak of has reached the disk."""
        self._begin()
        self.flush()
        self._marks.put(saved=np.maximum(self._marks.saved, self._stop))
        slots = np.flatnonzero(self._stop > self.start)
        is_last = np.zeros(self.num_envs, np.bool_)
        is_last[slots] = self._read_records(slots, self._stop[slots] - 1, 1)["is_last"][:, 0]
        return {"stop": self._stop.tolist(), "is_last": is_last.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to the rows that existed at `save`, less those overwritten since then.

        With the first use after this, checkpoints of more rows than this one become void.
        Raises `ReplayError` when this directory never held the rows of that checkpoint.
        """
        stop = state["stop"]
        if isinstance(stop, int):  # from before slots could have different numbers of rows
            stop = [stop] * state["num_envs"]
        saved = self._marks.saved.tolist()
        if len(stop) != self.num_envs or any(map(operator.gt, stop, saved)):
            raise ReplayError(
                f"The replay in {self.directory} holds {saved} saved rows in its env slots, the "
                f"checkpoint speaks of {stop}.",
                hint="Put the replay directory of that run back, or start a new run.",
            )
        self._stop = np.array(stop, np.int64)
        for file in self._files:
            file.seek(self._stop)
        self._floor = np.minimum(self._stop, self._marks.lost)
        self._ends_to_restore = state["is_last"]
        self._begun = False

    def flush(self) -> None:
        """Return when every appended row has reached the disk."""
        for file in self._files:
            file.sync()

    def close(self) -> None:
        """Close the files. Rows appended since the last `save` or `flush` may be lost."""
        self._marks.close()
        for file in self._files:
            file.close()

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, ring_rows: int, capacity: int) -> None:
        wanted = {"capacity": capacity, "num_envs": self.num_envs, **self._layout.describe()}
        self.directory.mkdir(parents=True, exist_ok=True)
        stored = read_manifest(self.directory, wanted)
        # A resumed run may checkpoint at another interval and want another `spare`: the rings stay.
        self._ring_rows = stored["ring_rows"] if stored else ring_rows

        def rowfile(name: str, dtype: np.dtype) -> RowFile:
            path = self.directory / f"{name}.bin"
            return RowFile(path, self.num_envs, self._ring_rows, dtype, create=not stored)

        self._records = rowfile("rows", self._layout.record)
        self._large = {
            key: rowfile(f"large_{quote(key, safe='')}", dtype)
            for key, dtype in self._layout.large.items()
        }
        self._entries = {
            key: rowfile(f"entry_{quote(key, safe='')}", dtype)
            for key, dtype in self._layout.entry_dtypes.items()
        }
        self._files = (self._records, *self._large.values(), *self._entries.values())
        self._marks = Marks(self.directory / "marks.bin", self.num_envs)
        if not stored:
            write_manifest(self.directory, {**wanted, "ring_rows": ring_rows})

    def _check(self, slots: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        ascending = (slots[1:] > slots[:-1]).all()
        if not (ascending and slots[0] >= 0 and slots[-1] < self.num_envs):
            raise ValueError(f"slots are {slots}, expected ascending ones of {self.num_envs}")
        if values.keys() != self._layout.keys.keys():
            raise ValueError(f"rows hold {sorted(values)}, the replay {sorted(self._layout.keys)}")
        for key, (shape, dtype) in self._layout.keys.items():
            _check_value(key, values[key], (len(slots), *shape), dtype)

    def _check_entry(self, key: str, values: np.ndarray, axes: tuple[int, ...]) -> np.dtype:
        """Return the dtype of the entry `key` after checking that `values` fit it."""
        if key not in self._layout.entries:
            kept = ", ".join(self._layout.entries) or "none"
            raise ValueError(f"the replay keeps no entry {key!r}; its entries: {kept}")
        shape, dtype = self._layout.entries[key]
        _check_value(key, values, (*axes, *shape), dtype)
        return dtype

    def _begin(self) -> None:
        """Take back, once, what an abandoned continuation did beyond the rows that were loaded."""
        if self._begun:
            return
        self._begun = True
        lost = np.minimum(self._marks.lost, self._stop)
        saved = np.minimum(self._marks.saved, self._stop)
        self._marks.put(lost=lost, saved=saved)
        for slot, is_last in enumerate(self._ends_to_restore):
            self._set_last(slot, is_last)

    def _reserve(self, slots: np.ndarray) -> None:
        """Note durably what the next row of these slots destroys, before it does.

        It is noted a stride ahead, and for all slots at once, so that the wait for the disk is
        rare. The ring is longer by that stride, so that no row of a checkpoint is given up for it.
        """
        destroyed = self._stop + 1 - self._ring_rows
        if (destroyed[slots] > self._marks.lost[slots]).any():
            self._marks.put(lost=np.maximum(self._marks.lost, destroyed + self._stride - 1))

    def _set_last(self, slot: int, is_last: bool) -> None:
        """Change the flag of the slot's newest row, if it has any."""
        newest = int(self._stop[slot]) - 1
        if newest >= self.start[slot]:
            record = self._read_records(np.array([slot]), np.array([newest]), 1)[0]
            record["is_last"] = is_last
            self._records.put(slot, newest, record)

    def _read_records(self, slots: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        inside = (starts >= self.start[slots]) & (starts + length <= self._stop[slots])
        assert inside.all(), f"{starts[~inside]} + {length} outside of slots {slots[~inside]}"
        records = np.empty((len(slots), length), self._layout.record)
        self._records.read(slots, starts, records)
        return records


def _check_value(key: str, value: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if value.shape != shape or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise ValueError(f"{key!r} is {value.dtype} {value.shape}, expected {dtype} {shape}")


def _stride(slot_capacity: int) -> int:
    return max(1, min(512, slot_capacity // 16))


def _ring_rows(capacity: int, num_envs: int, spare: int) -> int:
    slot_capacity = capacity // num_envs
    return slot_capacity + -(-spare // num_envs) + _stride(slot_capacity)
