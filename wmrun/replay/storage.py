"""The replay: one stream of rows per env slot, kept in rings on disk."""

from __future__ import annotations

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
    episode flags. Every slot keeps its newest `capacity // num_envs` rows. Rows are numbered from 0
    in every slot; those in `range(start, stop)` can be read.

    A directory that holds a replay is opened empty: `load` brings back the rows of a checkpoint,
    `append` without it begins a new recording. `spare` is a number of steps, over all slots, that
    stay on disk beyond the capacity: a checkpoint at most that old is restored with every row it
    had. Without it, rows overwritten after the checkpoint are missing from the restored replay.

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
        self._stop = 0
        self._floor = 0
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
    def start(self) -> int:
        """Index of the oldest row that every slot still has."""
        return max(self._stop - self.slot_capacity, self._floor)

    @property
    def stop(self) -> int:
        """Rows appended to every slot so far; the next row gets this index."""
        return self._stop

    def __len__(self) -> int:
        """Return the number of steps that can be sampled, over all slots."""
        return self.num_envs * (self._stop - self.start)

    def num_windows(self, length: int) -> int:
        """Return how many windows of `length` consecutive rows exist, over all slots."""
        return self.num_envs * max(0, self._stop - self.start - length + 1)

    def append(self, rows: Rows) -> None:
        """Append one row to every slot.

        First the newest stored row of each slot in `rows.broken` gets `is_last`: that episode was
        cut off.
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
        self._check(values)
        self._begin()
        self._reserve()
        if self._stop > self.start:
            for slot in rows.broken:
                self._set_last(slot, True)
        records = np.empty(self.num_envs, self._layout.record)
        for key in records.dtype.names or ():
            records[key] = values[key]
        for file in self._files:
            file.make_room()
        self._records.append(records)
        for key, file in self._large.items():
            file.append(values[key])
        for file in self._entries.values():
            file.append(0)
        self._stop += 1

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
            first = np.clip(self.start - starts, 0, length).tolist()
            stop = np.clip(self._stop - starts, 0, length).tolist()
            for b, (slot, start) in enumerate(zip(slots.tolist(), starts.tolist(), strict=True)):
                rows = values[b, first[b] : stop[b]]
                self._entries[key].put(slot, start + first[b], rows)

    def write_newest(self, entries: Mapping[str, np.ndarray]) -> None:
        """Overwrite entries `[N, ...]` of the newest row of every slot.

        Raises as `write` does, and `ReplayError` when there is no row.
        """
        if entries and self._stop == self.start:
            raise ReplayError("Entries were written to a replay that has no rows.")
        self._begin()
        for key, values in entries.items():
            self._check_entry(key, values, (self.num_envs,))
            self._entries[key].put_newest(values)

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
        batch_size, length = out["reward"].shape
        inside = (starts >= self.start) & (starts + length <= self._stop)
        assert inside.all(), f"{starts[~inside]} + {length} outside {self.start}..{self._stop}"
        records = np.empty((batch_size, length), self._layout.record)
        for key, file in (*self._large.items(), *self._entries.items()):
            file.read(slots, starts, out[key])
        self._records.read(slots, starts, records)
        for key in records.dtype.names or ():
            out[key][...] = records[key]

    def read_ends(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `is_first` and `is_last` of rows `start` to `stop` of every slot, `[N, T]`."""
        assert self.start <= start <= stop <= self._stop, f"{start}..{stop}"
        self._begin()
        slots = np.arange(self.num_envs)
        records = np.empty((self.num_envs, stop - start), self._layout.record)
        self._records.read(slots, np.full(self.num_envs, start), records)
        return records["is_first"], records["is_last"]

    def empty_batch(self, batch_size: int, length: int) -> dict[str, np.ndarray]:
        """Allocate what `read_into` fills: an array `[B, T, ...]` for every key and entry."""
        return self._layout.empty_batch(batch_size, length)

    def save(self) -> dict[str, Any]:
        """Return the cursors as JSON, after every row they speak of has reached the disk."""
        self._begin()
        self.flush()
        self._marks.put(saved=max(self._marks.saved, self._stop))
        slots = range(self.num_envs if self._stop > self.start else 0)
        last = [bool(self._newest_record(slot)["is_last"][0]) for slot in slots]
        return {"stop": self._stop, "num_envs": self.num_envs, "is_last": last}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to the rows that existed at `save`, less those overwritten since then.

        With the first use after this, checkpoints of more rows than this one become void.
        Raises `ReplayError` when this directory never held the rows of that checkpoint.
        """
        stop = state["stop"]
        if stop > self._marks.saved or state["num_envs"] != self.num_envs:
            raise ReplayError(
                f"The replay in {self.directory} holds {self._marks.saved:,} saved rows in each of "
                f"{self.num_envs} env slots, the checkpoint speaks of {stop:,} rows in each of "
                f"{state['num_envs']}.",
                hint="Put the replay directory of that run back, or start a new run.",
            )
        self._stop = stop
        for file in self._files:
            file.seek(stop)
        self._floor = min(stop, self._marks.lost)
        self._ends_to_restore = state["is_last"] if stop > self.start else []
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
        self._marks = Marks(self.directory / "marks.bin")
        if not stored:
            write_manifest(self.directory, {**wanted, "ring_rows": ring_rows})

    def _check(self, values: Mapping[str, np.ndarray]) -> None:
        if values.keys() != self._layout.keys.keys():
            raise ValueError(f"rows hold {sorted(values)}, the replay {sorted(self._layout.keys)}")
        for key, (shape, dtype) in self._layout.keys.items():
            _check_value(key, values[key], (self.num_envs, *shape), dtype)

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
        lost, saved = min(self._marks.lost, self._stop), min(self._marks.saved, self._stop)
        self._marks.put(lost=lost, saved=saved)
        for slot, is_last in enumerate(self._ends_to_restore):
            self._set_last(slot, is_last)

    def _reserve(self) -> None:
        """Note durably what the next row destroys, before it does.

        It is noted a stride ahead, so that the wait for the disk is rare. The ring is longer by
        that stride, so that no row of a checkpoint is given up for it.
        """
        destroyed = self._stop + 1 - self._ring_rows
        if destroyed > self._marks.lost:
            self._marks.put(lost=destroyed + self._stride - 1)

    def _set_last(self, slot: int, is_last: bool) -> None:
        record = self._newest_record(slot)
        record["is_last"] = is_last
        self._records.put(slot, self._stop - 1, record)

    def _newest_record(self, slot: int) -> np.ndarray:
        record = np.empty((1, 1), self._layout.record)
        self._records.read(np.array([slot]), np.array([self._stop - 1]), record)
        return record[0]


def _check_value(key: str, value: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if value.shape != shape or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise ValueError(f"{key!r} is {value.dtype} {value.shape}, expected {dtype} {shape}")


def _stride(slot_capacity: int) -> int:
    return max(1, min(512, slot_capacity // 16))


def _ring_rows(capacity: int, num_envs: int, spare: int) -> int:
    slot_capacity = capacity // num_envs
    return slot_capacity + -(-spare // num_envs) + _stride(slot_capacity)
