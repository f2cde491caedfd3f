"""When the loop does what: at every so many steps, and how many updates an agent step earns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Every:
    """Fires once each time a growing step count passes a multiple of `interval` (0: never)."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self._next = interval

    def __call__(self, step: int) -> bool:
        if self.interval <= 0 or step < self._next:
            return False
        self._next = (step // self.interval + 1) * self.interval
        return True

    def save(self) -> int:
        return self._next

    def load(self, state: int) -> None:
        """Keep the saved rhythm, also when the interval was changed on resume."""
        self._next = int(state) if self.interval > 0 else 0


class TrainRatio:
    """Turns agent steps into updates so that `ratio` rows are replayed for each agent step.

    Nothing is due until `burst` updates are owed; then all of them are. What is unpaid is carried
    over, also through a checkpoint, so the achieved ratio does not drift.
    """

    def __init__(self, ratio: float, rows_per_update: int, *, burst: int = 1) -> None:
        self.updates_per_step = ratio / rows_per_update
        self._burst = burst
        self._owed = 0.0
        self._paying = False

    @property
    def update_due(self) -> bool:
        return self._owed >= (1 if self._paying else self._burst) - 1e-9

    def earn(self, agent_steps: int) -> None:
        """Owe the updates for this many more policy decisions."""
        self._owed += agent_steps * self.updates_per_step

    def pay(self) -> None:
        """Note one update as done."""
        self._owed -= 1.0
        self._paying = True
        self._paying = self.update_due

    def save(self) -> dict[str, Any]:
        return {"owed": self._owed, "paying": self._paying}

    def load(self, state: Mapping[str, Any]) -> None:
        self._owed, self._paying = state["owed"], state["paying"]
