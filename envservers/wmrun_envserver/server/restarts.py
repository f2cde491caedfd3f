"""The replacement of simulators that failed, as far as the budgets of their slots go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from wmrun_envserver.server import ledger as phases
from wmrun_envserver.server.budget import RestartBudget
from wmrun_envserver.server.hosts import Failure, Host, Restart, Until
from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.ledger import Ledger
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.seeding import SlotSeeds

_LOG = logging.getLogger(__name__)


class Restarts:
    """Keeps the ledger true while simulators of a host fail and are replaced."""

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        seeds: SlotSeeds,
        limits: Limits,
        clock: Clock,
        *,
        in_background: bool,
    ) -> None:
        """`in_background`: a new simulator is reset at once, by whoever finds it ready."""
        self.given_up: list[int] = []
        """Slots, since whoever reads this cleared it."""
        self._host = host
        self._ledger = ledger
        self._seeds = seeds
        self._budget = RestartBudget(len(ledger.phase), limits, clock)
        self._window_s = limits.restart_window_s
        self._in_background = in_background

    @property
    def are_pending(self) -> bool:
        """Whether a simulator is being replaced."""
        return bool((self._ledger.phase == phases.DOWN).any())

    def begin(self, failures: Iterable[Failure]) -> None:
        """Enter failures, and begin to replace the simulators whose slots have budget left."""
        for failure in failures:
            for slot in failure.slots:
                self._note(slot, failure)
            kept = [slot for slot in failure.slots if self._has_budget(slot)]
            lost = [slot for slot in failure.slots if slot not in kept]
            if lost:
                self._ledger.mark(lost, phases.FAILED)
                self._host.discard(lost)
                self.given_up += lost
            if kept:
                self._replace(kept, self._budget.delay_s(kept))

    def retry(self, slots: Sequence[int]) -> None:
        """Begin to replace the simulators of those of `slots` that were given up long ago."""
        failed = self._ledger.among(slots, phases.FAILED)
        for group in sorted({self._host.mates(slot) for slot in failed}):
            if self._has_budget(group[0]):
                self._ledger.mark(group, phases.DOWN)
                self._ledger.lost[list(group)] = True
                self._replace(group, 0.0)

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        """Enter what became of the restarts; return the slots rebuilt, and further failures."""
        if self._ledger.is_calm:  # nothing is being replaced
            return [], []
        start = len(table)
        rebuilt, failures = self._host.collect(table, until)
        self._ledger.count(table, start)
        self._ledger.note_rebuilt(rebuilt)
        return rebuilt, failures

    def finish(self, table: RowTable) -> None:
        """Wait until every simulator is there or given up, and leave all new ones to be reset."""
        failures: list[Failure] = []
        while failures or self.are_pending:
            self.begin(failures)
            rebuilt, failures = self._host.collect(table, "all")
            self._ledger.note_rebuilt(rebuilt)
            # What their resets brought was not counted: they begin again with the next call.
            table.begin()

    def _replace(self, slots: Sequence[int], delay_s: float) -> None:
        seeds = self._seeds.note_restart(slots)
        reset = [slot for slot in slots if self._in_background and self._ledger.entered[slot]]
        self._host.restart(Restart(tuple(slots), tuple(reset), seeds, delay_s))

    def _note(self, slot: int, failure: Failure) -> None:
        self._ledger.note_loss(slot, failure.reason, failure.message)
        _LOG.error(
            "slot %d failed in episode %d after step %d (failure %d in %.0f s): %s",
            slot,
            self._ledger.episode[slot],
            self._ledger.step[slot],
            self._budget.note(slot),
            self._window_s,
            failure.message.splitlines()[-1] if failure.message else failure.reason,
        )

    def _has_budget(self, slot: int) -> bool:
        return all(self._budget.allows(mate) for mate in self._host.mates(slot))
