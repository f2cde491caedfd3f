"""Looks at every observation that an environment sends for what spoils training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.diagnose.finding import Finding

FEW_FRAMES = 10
"""Frames of one episode that may be the same before they count as stuck."""
_IMAGE_ROLES = ("IMAGE_HWC", "IMAGE_CHW")


class ObservationWatch:
    """Watches the rows of all slots; `findings` says what came up."""

    def __init__(self, obs_space: Mapping[str, spaces.LeafSpace]) -> None:
        self._ranges = [_RangeWatch(key, space) for key, space in obs_space.items()]
        self._frames = [
            _FrameWatch(key)
            for key, space in obs_space.items()
            if isinstance(space, spaces.Box) and space.role in _IMAGE_ROLES
        ]

    def add(
        self, slots: np.ndarray, obs: Mapping[str, np.ndarray], is_first: np.ndarray, step: int
    ) -> None:
        """Look at one row of each slot: `slots` `[n]`, `obs` `[n, ...]` by key, bool `[n]`."""
        for leaf in self._ranges:
            leaf.add(slots, obs[leaf.key], step)
        for frames in self._frames:
            frames.add(slots, obs[frames.key], is_first)

    def findings(self) -> Iterator[Finding]:
        """Yield at most one finding of a kind for each observation key."""
        for leaf in self._ranges:
            yield from leaf.findings()
        for frames in self._frames:
            yield from frames.findings()


class _RangeWatch:
    """Whether values are finite and inside the space."""

    def __init__(self, key: str, space: spaces.LeafSpace) -> None:
        self.key = key
        self._leaf = spaces.Leaf(key, space)
        self._not_finite = ""
        self._outside = ""

    def add(self, slots: np.ndarray, values: np.ndarray, step: int) -> None:
        if values.dtype.kind == "f" and not self._not_finite:
            finite = np.isfinite(values)
            if not finite.all():
                position = tuple(int(i) for i in np.argwhere(~finite)[0])
                place = f"element {list(position[1:])} of " if position[1:] else ""
                value = values[position]
                self._not_finite = f"{place}slot {slots[position[0]]} is {value} at step {step}"
                return
        if self._outside or self._not_finite:
            return
        try:
            spaces.check(self._leaf, values)
        except spaces.SpaceError as error:
            self._outside = f"{error} (step {step})"

    def findings(self) -> Iterator[Finding]:
        if self._not_finite:
            yield Finding(
                "nan-observation",
                f"observation {self.key!r}: {self._not_finite}",
                "Training stops at the first value that is not a finite number.",
            )
        if self._outside:
            yield Finding(
                "out-of-range",
                f"an observation is outside its space: {self._outside}",
                "Widen the space, or clip what the environment returns.",
            )


class _FrameWatch:
    """Whether frames show something, and something that changes."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._first: dict[int, np.ndarray] = {}
        self._same: dict[int, int] = {}
        self._stuck_slot: int | None = None
        self._seen = 0
        self._all_blank = True

    def add(self, slots: np.ndarray, frames: np.ndarray, is_first: np.ndarray) -> None:
        for slot, frame, first in zip(slots.tolist(), frames, is_first, strict=True):
            self._seen += 1
            self._all_blank &= bool((frame == frame.flat[0]).all())
            if first or slot not in self._first:
                self._first[slot], self._same[slot] = frame.copy(), 1
            elif self._same[slot] > 0:
                unchanged = np.array_equal(frame, self._first[slot])
                self._same[slot] = self._same[slot] + 1 if unchanged else 0
                if self._same[slot] >= FEW_FRAMES and self._stuck_slot is None:
                    self._stuck_slot = slot

    def findings(self) -> Iterator[Finding]:
        hint = (
            "A simulator without a display or with graphics switched off draws this: see "
            "`wmrun doctor`, and for Unity leave no_graphics out."
        )
        if self._seen and self._all_blank:
            yield Finding(
                "blank-frames",
                f"every one of {self._seen:,} frames {self.key!r} has a single colour",
                hint,
            )
        elif self._stuck_slot is not None:
            yield Finding(
                "constant-frames",
                f"the first {FEW_FRAMES} frames {self.key!r} of an episode of slot "
                f"{self._stuck_slot} are the same although actions were random",
                hint,
            )
