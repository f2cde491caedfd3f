"""Rows that can be told apart, and the plain lists that a replay is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmrun.replay.episodes import EpisodeIndex
from wmrun.replay.rows import EntrySpec, RowSpec, row_spec
from wmrun.replay.storage import Replay

IMAGE = (20, 20, 3)


def spec() -> RowSpec:
    return row_spec({"image": (IMAGE, np.uint8), "vector": ((3,), np.float32)}, action_size=2)


@dataclass(frozen=True)
class Transitions:
    slots: np.ndarray
    obs: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    broken: tuple[int, ...] = ()


def transitions(number: int, num_envs: int, broken: Iterable[int] = ()) -> Transitions:
    """Rows whose every value is drawn from a generator seeded with `number`."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (num_envs, *IMAGE), dtype=np.uint8)
    vector = rng.standard_normal((num_envs, 3)).astype(np.float32)
    flags = rng.random((3, num_envs)) < 0.2
    return Transitions(
        slots=np.arange(num_envs),
        obs={"image": image, "vector": vector},
        action=rng.standard_normal((num_envs, 2)).astype(np.float32),
        reward=rng.standard_normal(num_envs).astype(np.float32),
        is_first=flags[0],
        is_last=flags[1],
        is_terminal=flags[2],
        broken=tuple(broken),
    )


def only(slots: Iterable[int], rows: Transitions) -> Transitions:
    """Return the rows of these slots, out of rows of all slots."""
    taken = np.array(sorted(slots), np.int64)
    arrays = ("slots", "action", "reward", "is_first", "is_last", "is_terminal")
    obs = {key: value[taken] for key, value in rows.obs.items()}
    values = {key: getattr(rows, key)[taken] for key in arrays}
    broken = tuple(slot for slot in rows.broken if slot in taken)
    return dataclasses.replace(rows, obs=obs, broken=broken, **values)


class Stream:
    """All rows of all slots, kept for ever: `rows[slot][index][key]`."""

    def __init__(self, num_envs: int) -> None:
        self.rows: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]

    def append(self, t: Transitions) -> None:
        for slot in t.broken:
            if self.rows[slot]:
                self.rows[slot][-1] |= {"is_last": True}
        flags = {"is_first": t.is_first, "is_last": t.is_last, "is_terminal": t.is_terminal}
        values = {**t.obs, "action": t.action, "reward": t.reward, **flags}
        for i, slot in enumerate(t.slots.tolist()):
            self.rows[slot].append({key: value[i] for key, value in values.items()})

    @property
    def lengths(self) -> list[int]:
        return [len(rows) for rows in self.rows]

    def copy(self) -> Stream:
        copy = Stream(len(self.rows))
        copy.rows = [[dict(row) for row in rows] for rows in self.rows]
        return copy

    def window(self, slot: int, start: int, length: int) -> dict[str, np.ndarray]:
        rows = self.rows[slot][start : start + length]
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def fill(replay: Replay, count: int) -> Stream:
    return record(replay, [range(replay.num_envs)] * count)


def record(replay: Replay, calls: Iterable[Iterable[int]]) -> Stream:
    """Append a row to these slots, call by call; the values are those of the call's number."""
    stream = Stream(replay.num_envs)
    for number, slots in enumerate(calls):
        rows = only(slots, transitions(number, replay.num_envs))
        replay.append(rows)
        stream.append(rows)
    return stream


@dataclass(frozen=True)
class Episode:
    slot: int
    first: int
    rows: int
    cut: bool = False
    """Whether it ends without `is_last`, and its slot is `broken` with the next row."""


def episodes_of(*slots: list[int], cut: Iterable[tuple[int, int]] = ()) -> list[Episode]:
    """Put episodes of these numbers of rows one after the other, a list for each slot.

    Those whose (slot, position) is in `cut` are cut off.
    """
    cut, episodes = set(cut), []
    for slot, lengths in enumerate(slots):
        firsts = [sum(lengths[:number]) for number in range(len(lengths))]
        for number, (first, rows) in enumerate(zip(firsts, lengths, strict=True)):
            episodes.append(Episode(slot, first, rows, (slot, number) in cut))
    return episodes


def episode_rows(episodes: Iterable[Episode], indices: np.ndarray) -> Transitions:
    """Return row `indices[slot]` of every slot; their rewards are `1000 * slot + index`."""
    rows = transitions(int(indices.sum()), len(indices))
    rows.reward[:] = 1000 * np.arange(len(indices)) + indices
    for flags in (rows.is_first, rows.is_last, rows.is_terminal):
        flags[:] = False
    broken = []
    for episode in episodes:
        index = indices[episode.slot]
        rows.is_first[episode.slot] |= index == episode.first
        rows.is_last[episode.slot] |= index == episode.first + episode.rows - 1 and not episode.cut
        if episode.cut and index == episode.first + episode.rows:
            broken.append(episode.slot)
    return dataclasses.replace(rows, broken=tuple(broken))


def play(replay: Replay, episodes: list[Episode], stop: int | Sequence[int]) -> None:
    """Append rows with the episodes' flags, up to index `stop`, which each slot may have its own
    of."""
    while (slots := np.flatnonzero(replay.stop < stop)).size:
        replay.append(only(slots, episode_rows(episodes, replay.stop)))


def held(
    episodes: list[Episode], start: np.ndarray, stop: np.ndarray, min_rows: int
) -> list[tuple[int, ...]]:
    """Return slot, first row and rows of the episodes that an index of a replay must have."""
    return [
        (e.slot, e.first, e.rows)
        for e in episodes
        if e.rows >= min_rows
        and e.first >= start[e.slot]
        and e.first + e.rows + e.cut <= stop[e.slot]
    ]


def listed(index: EpisodeIndex) -> list[tuple[int, ...]]:
    slots, firsts, lengths = index.at(np.arange(len(index)))
    return list(zip(slots.tolist(), firsts.tolist(), lengths.tolist(), strict=True))


def places_of(rewards: np.ndarray) -> list[tuple[int, int]]:
    """Return (slot, start) of every window `[B, T]` of rows that were played, in order of rows."""
    slots, starts = divmod(rewards.astype(int), 1000)
    assert (np.diff(starts) == 1).all(), "the rows of a window follow each other"
    assert (slots == slots[:, :1]).all(), "a window stays in its slot"
    return list(zip(slots[:, 0].tolist(), starts[:, 0].tolist(), strict=True))


def assert_holds(replay: Replay, stream: Stream, length: int) -> None:
    """Read every window of `length` rows, one by one, and compare it with the stream."""
    for slot in range(replay.num_envs):
        starts = np.arange(replay.start[slot], replay.stop[slot] - length + 1)
        batch = replay.read(np.full(len(starts), slot), starts, length)
        for b, start in enumerate(starts.tolist()):
            for key, expected in stream.window(slot, start, length).items():
                assert batch[key].dtype == np.dtype(spec()[key][1])
                np.testing.assert_array_equal(batch[key][b], expected, f"{key} {slot} {start}")


def open_replay(
    directory: Path, capacity: int, num_envs: int, spare: int = 0, entries: EntrySpec | None = None
) -> Replay:
    return Replay(
        directory,
        spec(),
        capacity=capacity,
        num_envs=num_envs,
        spare=spare,
        entries=entries or {},
    )
