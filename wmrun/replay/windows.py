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
        return self.replay.num_windows(self.window) > 0

    def draw(self, count: int, rng: np.random.Generator) -> Places:
        windows = self.replay.num_windows(self.window)
        drawn = rng.integers(windows, size=count)
        slots, offsets = divmod(drawn, windows // self.replay.num_envs)
        return Places(slots, self.replay.start + offsets)

    def shortage(self) -> ReplayTooShort:
        replay = self.replay
        return ReplayTooShort(
            f"No window of {self.window} rows can be sampled yet: each of {replay.num_envs} env "
            f"slots has {replay.stop - replay.start} rows.",
            hint=f"Set run.prefill to at least {self.window * replay.num_envs} agent steps.",
        )

    @property
    def hopeless(self) -> bool:
        return False

    def restart(self) -> None:
        """Nothing is derived from the rows."""


class OnlineWindows:
    """Every window once, as soon as it is complete: rows `0..W`, `W..2W`, … of every slot.

    Dreamer V3's online queue (core/replay.py). What waits is at most what the replay holds: windows
    whose rows are gone are left out.
    """

    def __init__(self, replay: Replay, window: int) -> None:
        self._replay = replay
        self._window = window
        self._start = 0
        self._slot = 0

    def __len__(self) -> int:
        """Return how many windows wait."""
        self._skip_lost()
        complete = max(0, self._replay.stop - self._start) // self._window
        return max(0, complete * self._replay.num_envs - self._slot)

    def take(self, count: int) -> Places:
        """Remove up to `count` windows, oldest first, and return where they begin."""
        waiting = np.arange(min(count, len(self))) + self._slot
        rounds, slots = divmod(waiting, self._replay.num_envs)
        places = Places(slots, self._start + rounds * self._window)
        done, self._slot = divmod(self._slot + len(waiting), self._replay.num_envs)
        self._start += done * self._window
        return places

    def save(self) -> dict[str, int]:
        """Return what was taken so far as JSON."""
        return {"start": self._start, "slot": self._slot}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue after the windows that were taken before `save`."""
        self._start, self._slot = state["start"], state["slot"]

    def _skip_lost(self) -> None:
        lost = self._replay.start - self._start
        if lost > 0:
            self._start += -(-lost // self._window) * self._window
            self._slot = 0
