"""Returns and lengths of episodes, read off the stream of transitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wmrun.envs.driver import Transitions


@dataclass(frozen=True)
class Episode:
    """One finished episode; `length` counts agent steps, `episode_return` is undiscounted."""

    slot: int
    episode_return: float
    length: int


class EpisodeMeter:
    """Adds up rewards per slot and hands out each episode as it ends.

    An episode that a failure cut off is dropped, for its return means nothing.
    """

    def __init__(self, num_envs: int) -> None:
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int64)

    def add(self, rows: Transitions) -> list[Episode]:
        """Account for these rows and return the episodes that they ended."""
        first = rows.slots[rows.is_first]
        self._returns[first] = 0.0
        self._lengths[first] = 0
        self._returns[rows.slots] += rows.reward
        self._lengths[rows.slots] += ~rows.is_first
        return [
            Episode(slot, float(self._returns[slot]), int(self._lengths[slot]))
            for slot in rows.slots[rows.is_last].tolist()
        ]
