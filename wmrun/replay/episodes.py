"""Windows inside finished episodes, and the index of episodes that they are drawn from."""

from __future__ import annotations

from collections import deque

import numpy as np

from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.storage import Replay
from wmrun.replay.windows import Places, WindowSource

_READ_ROWS = 1 << 18
"""Rows whose flags are read at once, over all slots, when an index is built from the disk."""


class EpisodeWindows(WindowSource):
    """Windows that lie inside one finished episode; every such episode is equally likely.

    The rule of Dreamer V2 (replay.py): an episode counts when it has at least `min_steps` agent
    steps, one less than rows. A window begins at `min(u, L - W)` in an episode of `L` rows, with u
    uniform in `0 … L - W`, or in `0 … L` where ends are prioritised: the last window is then drawn
    with probability (W + 1) / (L + 1), every other with 1 / (L + 1). Dreamer V1 (tools.py:157-185)
    never draws the last window, so that no final row is ever learnt from; this does.

    An episode that was cut off is finished. It is gone when its first row is.
    """

    def __init__(
        self, replay: Replay, window: int, *, min_steps: int, prioritize_ends: bool = False
    ) -> None:
        super().__init__(replay, window)
        self._prioritize_ends = prioritize_ends
        self._min_rows = max(window, min_steps + 1)
        self._index = EpisodeIndex(replay, self._min_rows)

    @property
    def rows_needed(self) -> int:
        return self._min_rows

    @property
    def ready(self) -> bool:
        self._index.update()
        return len(self._index) > 0

    def draw(self, count: int, rng: np.random.Generator) -> Places:
        self._index.update()
        chosen = rng.integers(len(self._index), size=count)
        slots, firsts, lengths = self._index.at(chosen)
        last = lengths - self.window
        offsets = rng.integers(last + 1 + (self.window if self._prioritize_ends else 0))
        return Places(slots, firsts + np.minimum(offsets, last))

    def shortage(self) -> ReplayTooShort:
        index, slot_rows = self._index, self.replay.slot_capacity
        reason, hint = "none has finished", "Set run.prefill so that episodes end in it"
        if index.finished:
            reason = f"of {index.finished} that finished, the longest has {index.longest - 1}"
            hint = "Set a smaller replay.batch_length"
        if index.longest >= self._min_rows:
            reason += (
                f", and the {slot_rows} rows that an env slot can hold have none of them whole"
            )
            hint = "Set a larger replay.capacity"
        return ReplayTooShort(
            f"No episode of at least {self._min_rows - 1} agent steps can be sampled: {reason}.",
            hint=f"{hint}, or replay.sampler=windows.",
        )

    @property
    def hopeless(self) -> bool:
        return not self.ready and self._index.finished > 0

    def restart(self) -> None:
        self._index = EpisodeIndex(self.replay, self._min_rows)


class EpisodeIndex:
    """The finished episodes of at least `min_rows` rows that a replay holds from first to last row.

    It is kept in memory, and brought up to date from the flags of rows appended since: after `load`
    from those of all rows.
    """

    def __init__(self, replay: Replay, min_rows: int) -> None:
        self.finished = 0
        """Episodes of any length that were seen to end."""
        self.longest = 0
        """Rows of the longest of them."""
        self._replay = replay
        self._min_rows = min_rows
        self._read = np.zeros(replay.num_envs, np.int64)
        self._open: list[int | None] = [None] * replay.num_envs
        self._episodes: list[deque[tuple[int, int]]] = [deque() for _ in range(replay.num_envs)]

    def __len__(self) -> int:
        """Return the number of episodes, over all slots."""
        return sum(map(len, self._episodes))

    def at(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return slot, first row and length of the episodes `numbers[b]`, in `range(len(self))`."""
        ends = np.cumsum([len(episodes) for episodes in self._episodes])
        slots = np.searchsorted(ends, numbers, side="right")
        before = ends[slots] - [len(self._episodes[slot]) for slot in slots]
        found = [
            self._episodes[slot][number]
            for slot, number in zip(slots.tolist(), (numbers - before).tolist(), strict=True)
        ]
        firsts, lengths = np.array(found, np.int64).reshape(-1, 2).T
        return slots, firsts, lengths

    def update(self) -> None:
        """Take note of the rows that were appended and of those that are gone."""
        start, stop = self._replay.start, self._replay.stop
        for slot in np.flatnonzero(self._read < start).tolist():
            self._read[slot] = start[slot]
            self._open[slot] = None
        while (slots := np.flatnonzero(self._read < stop)).size:
            length = int((stop - self._read)[slots].min())
            self._note(slots, min(length, max(1, _READ_ROWS // len(slots))))
        for episodes, oldest in zip(self._episodes, start.tolist(), strict=True):
            while episodes and episodes[0][0] < oldest:
                episodes.popleft()

    def _note(self, slots: np.ndarray, length: int) -> None:
        starts = self._read[slots]
        is_first, is_last = self._replay.read_ends(slots, starts, length)
        for i, t in np.argwhere(is_first | is_last).tolist():
            slot, index = int(slots[i]), int(starts[i]) + t
            if is_first[i, t]:
                self._finish(slot, index)  # one that was cut off
                self._open[slot] = index
            if is_last[i, t]:
                self._finish(slot, index + 1)
        self._read[slots] += length

    def _finish(self, slot: int, stop: int) -> None:
        first = self._open[slot]
        if first is None:
            return
        self._open[slot] = None
        self.finished += 1
        self.longest = max(self.longest, stop - first)
        if stop - first >= self._min_rows:
            self._episodes[slot].append((first, stop - first))
