"""What is known of every slot of a session: its episode, its step, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.wire import messages

FRESH = 0
"""Never reset."""
RUNNING = 1
ENDED = 2
"""Its last row ended an episode."""
STALE = 3
"""Its simulator was replaced: the next Step begins an episode, whatever the autoreset."""
AWAY = 4
"""It was reset, and its simulator has no row of it yet."""
DOWN = 5
"""Its simulator is being replaced."""
FAILED = 6
"""It was given up."""


class Ledger:
    """One element per slot in every array.

    A slot awaits an answer from a row of it until a Step names it.
    """

    def __init__(self, num_slots: int) -> None:
        self.phase = np.full(num_slots, FRESH, np.int8)
        self.episode = np.full(num_slots, -1, np.int64)
        self.step = np.zeros(num_slots, np.int64)
        self.awaits = np.zeros(num_slots, np.bool_)
        self.entered = np.zeros(num_slots, np.bool_)
        """A Reset named it: from then on it is in episodes, whichever simulator it gets."""
        self.lost = np.zeros(num_slots, np.bool_)
        """Its simulator was replaced and no row said so yet."""
        self.is_calm = False
        """Whether every slot is running."""
        self._errors: list[tuple[str, str]] = [("", "")] * num_slots
        self._all = list(range(num_slots))

    def mark(self, slots: Sequence[int], phase: int) -> None:
        """Put `slots` into `phase`."""
        if len(slots):
            self.phase[list(slots)] = phase
            self.is_calm = False

    def note_loss(self, slot: int, reason: str, message: str) -> None:
        """The simulator of `slot` is gone, for that reason."""
        self.mark([slot], DOWN)
        self.lost[slot] = True
        self._errors[slot] = reason, message

    def note_rebuilt(self, slots: Sequence[int]) -> None:
        """The simulators of `slots` are there again; those without a row yet are to be reset."""
        index = np.array(slots, np.int64)
        down = index[self.phase[index] == DOWN]
        self.phase[down] = np.where(self.entered[down], STALE, FRESH)

    def count(self, table: RowTable, start: int) -> None:
        """Enter the rows of `table` from `start` on, and give them their counters and status."""
        if start == len(table):
            return
        if self.is_calm and start == 0 and table.slot == self._all and not _any_edge(table):
            self.step += 1
            self.awaits[:] = True
            table.episode += self.episode.tolist()
            table.step += self.step.tolist()
            table.status += [messages.SLOT_OK] * len(table)
            return
        slots = np.array(table.slot[start:], np.int64)
        first = np.array(table.is_first[start:], np.bool_)
        steps = self.step[slots] + 1
        if first.any():
            self.episode[slots] += first
            steps[first] = 0
        self.step[slots] = steps
        ended = np.array(table.terminated[start:]) | np.array(table.truncated[start:])
        self.phase[slots] = np.where(ended, ENDED, RUNNING)
        self.is_calm = bool((self.phase == RUNNING).all())
        self.awaits[slots] = True
        table.episode += self.episode[slots].tolist()
        table.step += steps.tolist()
        table.status += self._status(slots, first, table)

    def add_blanks(self, table: RowTable, slots: Sequence[int], status: int) -> None:
        """Add a row without a meaning for each of `slots`."""
        for slot in slots:
            table.add_blank(slot)
            table.episode.append(max(int(self.episode[slot]), 0))
            table.step.append(0)
            table.status.append(status)
            if status == messages.SLOT_FAILED:
                table.add_error(slot, *self._errors[slot])

    def among(self, slots: Sequence[int], *phases: int) -> list[int]:
        """Return those of `slots` that are in one of `phases`."""
        index = np.asarray(slots, np.int64)
        phase = self.phase[index]
        matches = phase == phases[0]
        for other in phases[1:]:
            matches |= phase == other
        kept: list[int] = index[matches].tolist()
        return kept

    def _status(self, slots: np.ndarray, first: np.ndarray, table: RowTable) -> list[int]:
        restarted = first & self.lost[slots]
        if not restarted.any():
            return [messages.SLOT_OK] * len(slots)
        for slot in slots[restarted].tolist():
            table.add_error(slot, *self._errors[slot])
        self.lost[slots[restarted]] = False
        status: list[int] = np.where(restarted, messages.SLOT_RESTARTED, messages.SLOT_OK).tolist()
        return status


def _any_edge(table: RowTable) -> bool:
    """Return whether an episode begins or ends in a row of `table`."""
    return True in table.is_first or True in table.terminated or True in table.truncated
