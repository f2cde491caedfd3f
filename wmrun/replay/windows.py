"""Where sequences may begin: any rows of a slot that follow each other, drawn or as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.storage import Replay


class Places(NamedTuple):
    """Where windows begin: slot and row index, int64 `[B]` each."""

    slots: np.ndarray
    starts: np.ndarray


class WindowSource(ABC):
    """Draws windows of `window` rows from a replay by its own rule."""

    def __init__(self, replay: Replay, window: int) -> None:
        self.replay = replay
        self.window = window

    @property
    def rows_needed(self) -> int:
        """Rows of a slot without which no window can exist."""
        return self.window

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether at least one window can be drawn."""

    @abstractmethod
    def draw(self, count: int, rng: np.random.Generator) -> Places:
        """Return where `count` windows begin. Only while `ready`."""

    @abstractmethod
    def shortage(self) -> ReplayTooShort:
        """Return why no window can be drawn now, with the setting that helps."""

    @property
    @abstractmethod
    def hopeless(self) -> bool:
        """Whether what was stored so far suggests that waiting for windows is in vain."""

    @abstractmethod
    def restart(self) -> None:
        """Forget what was derived from the replay's rows: it has loaded others."""


class UniformWindows(WindowSource):
    """Every window of every slot is equally likely, across episodes too.

    As in Dreamer V3 (core/replay.py): the agent resets its state where `is_first` is set.
    """

    @property
    def ready(self) -> bool:
        return bool(self.replay.num_windows(self.window).any())

    def draw(self, count: int, rng: np.random.Generator) -> Places:
        windows = self.replay.num_windows(self.window)
        ends = np.cumsum(windows)
        drawn = rng.integers(ends[-1], size=count)
        slots = np.searchsorted(ends, drawn, side="right")
        offsets = drawn - (ends - windows)[slots]
        return Places(slots, self.replay.start[slots] + offsets)

    def shortage(self) -> ReplayTooShort:
        replay = self.replay
        return ReplayTooShort(
            f"No window of {self.window} rows can be sampled yet: none of {replay.num_envs} env "
            f"slots has more than {(replay.stop - replay.start).max()} rows.",
            hint=f"Set run.prefill to at least {self.window * replay.num_envs} agent steps.",
        )

    @property
    def hopeless(self) -> bool:
        return False

    def restart(self) -> None:
        """Nothing is derived from the rows."""


class OnlineWindows:
    """Every window once, as soon as it is complete: rows `0..W`, `W..2W`, … of every slot.

    Dreamer V3's online queue (core/replay.py). Of the windows that wait, those of smaller row
    indices come first. What waits is at most what the replay holds: windows whose rows are gone are
    left out.
    """

    def __init__(self, replay: Replay, window: int) -> None:
        self._replay = replay
        self._window = window
        self._next = np.zeros(replay.num_envs, np.int64)

    def __len__(self) -> int:
        """Return how many windows wait."""
        return int(self._waiting().sum())

    def take(self, count: int) -> Places:
        """Remove up to `count` windows, oldest first, and return where they begin."""
        slots, numbers = np.nonzero(np.arange(count) < self._waiting()[:, None])
        starts = self._next[slots] + numbers * self._window
        oldest = np.argsort(starts, kind="stable")[:count]
        np.add.at(self._next, slots[oldest], self._window)
        return Places(slots[oldest], starts[oldest])

    def save(self) -> dict[str, list[int]]:
        """Return what was taken so far as JSON."""
        return {"next": self._next.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue after the windows that were taken before `save`."""
        if "next" not in state:  # from before slots could have different numbers of rows
            one_more = np.arange(len(self._next)) < state["slot"]
            state = {"next": state["start"] + self._window * one_more}
        self._next[:] = state["next"]

    def _waiting(self) -> np.ndarray:
        """Return how many windows of each slot wait, without those whose rows are gone."""
        lost = np.maximum(self._replay.start - self._next, 0)
        self._next += -(-lost // self._window) * self._window
        return np.maximum(self._replay.stop - self._next, 0) // self._window
