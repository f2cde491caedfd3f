"""Lengths and returns of the episodes that were played, and whether rewards say anything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wmrun.diagnose.finding import Finding
from wmrun.envs.rows import Rows

_MAX_REWARD = np.finfo(np.float32).max


class EpisodeWatch:
    """Counts steps and rewards per slot; an episode that a failure cut off is not counted."""

    def __init__(self, num_envs: int) -> None:
        self.lengths: list[int] = []
        self.returns: list[float] = []
        self._length = np.zeros(num_envs, np.int64)
        self._return = np.zeros(num_envs)
        self._rewards: set[float] = set()
        self._not_finite = False
        self._too_large: float | None = None

    def add(self, rows: Rows) -> None:
        """Account for one row of each slot in `rows`."""
        self._length[rows.slots[rows.is_first]] = 0
        self._return[rows.slots[rows.is_first]] = 0.0
        stepped = ~rows.is_first
        self._length[rows.slots[stepped]] += 1
        self._return[rows.slots[stepped]] += rows.reward[stepped]
        self._not_finite |= not np.isfinite(rows.reward).all()
        large = stepped & np.isfinite(rows.reward) & (np.abs(rows.reward) > _MAX_REWARD)
        if self._too_large is None and large.any():
            self._too_large = float(rows.reward[large][0])
        if len(self._rewards) < 2:
            self._rewards.update(rows.reward[stepped].tolist())
        for slot in rows.slots[rows.terminated | rows.truncated]:
            self.lengths.append(int(self._length[slot]))
            self.returns.append(float(self._return[slot]))

    def findings(self) -> Iterator[Finding]:
        """Yield what would keep an agent from learning."""
        if self._not_finite:
            yield Finding("nan-reward", "a reward is not a finite number")
        if self._too_large is not None:
            yield Finding(
                "too-large-reward",
                f"a reward is {self._too_large:g}, which does not fit float32",
                "Scale the rewards down: training stops at the first one that does not fit.",
            )
        if len(self._rewards) == 1:
            yield Finding(
                "constant-reward",
                f"every reward was {next(iter(self._rewards)):g}",
                "Fine for tasks whose reward is rare, or one per step survived.",
                is_note=True,
            )
        if not self.lengths:
            yield Finding(
                "no-episode-ended",
                f"no episode ended; the longest has {int(self._length.max())} steps so far",
                "Give env.time_limit if the task has none: evaluations play whole episodes.",
                is_note=True,
            )
        elif max(self.lengths) <= 1:
            yield Finding(
                "one-step-episodes",
                "every episode ended at its first step",
                "A world model has nothing to learn from that.",
            )
