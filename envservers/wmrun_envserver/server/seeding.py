"""The seeds of a session's slots, over resets and restarts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SlotSeeds:
    """What each slot is seeded with next.

    The seeds of the opening are for the first reset of each slot. A simulator that was replaced is
    seeded from the last seed of its slot, where it had one: a seeded session stays reproducible,
    and does not run into the same crash again.
    """

    def __init__(self, num_slots: int, seeds: Sequence[int], *, at_build: bool) -> None:
        """With `at_build` simulators are seeded when they are built, and never at a reset."""
        self._at_build = at_build
        self._first: list[int | None] = list(seeds) or [None] * num_slots
        self._last = list(self._first)
        self._restarts = [0] * num_slots

    def note_restart(self, slots: Sequence[int]) -> dict[int, int]:
        """Return the seeds, by slot, with which the simulators of `slots` start anew."""
        for slot in slots:
            self._restarts[slot] += 1
        seeds = {slot: self._derived(slot) for slot in slots}
        return {slot: seed for slot, seed in seeds.items() if seed is not None}

    def of_reset(self, slot: int, asked: int | None, *, restarted: bool) -> int | None:
        """Return the seed of the next reset; `restarted`: it is the first of a new simulator."""
        if self._at_build:
            return None
        first, self._first[slot] = self._first[slot], None
        if asked is None and restarted:
            return self._derived(slot)
        seed = first if asked is None else asked
        if seed is not None:
            self._last[slot] = seed
        return seed

    def _derived(self, slot: int) -> int | None:
        last = self._last[slot]
        if last is None:
            return None
        entropy = np.random.SeedSequence([last, self._restarts[slot]])
        return int(entropy.generate_state(1)[0])
