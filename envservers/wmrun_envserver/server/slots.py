"""The slots of one session: who is stepped, who begins an episode, who is replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns

import numpy as np

from wmrun_envserver.backends.base import NeedsPartialBatch, SeedScope
from wmrun_envserver.server import ledger as phases
from wmrun_envserver.server.budget import RestartBudget
from wmrun_envserver.server.hosts import Failure, Host, Move, Restart, Spec, Until
from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.ledger import Ledger
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused, refusal_of
from wmrun_envserver.server.rendering import draw
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.seeding import SlotSeeds
from wmrun_envserver.server.validation import (
    ActionCheck,
    check_render,
    check_reset,
    check_slots,
    check_step_slots,
)
from wmrun_envserver.wire import messages, spaces
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)


class Slots:
    """The simulators of a `Host` with an autoreset, and a restart budget per slot.

    A simulator that raises, dies, hangs, or returns what its spaces do not allow costs its own
    slots an episode: it is replaced and reset, and their rows say SLOT_RESTARTED. A slot that fails
    too often is given up (SLOT_FAILED) until a Reset finds that its budget allows another attempt.

    With `partial`, a Step names slots that await an answer, and its reply has the rows that are
    there; restarts go on in the background where the host can do that.
    """

    def __init__(
        self,
        host: Host,
        spec: Spec,
        num_envs: int,
        *,
        autoreset: messages.Autoreset = messages.NEXT_STEP,
        partial: bool = False,
        seed_scope: SeedScope = "reset",
        seeds: Sequence[int] = (),
        seeds_at_build: bool = False,
        limits: Limits,
        clock: Clock,
    ) -> None:
        """Take over a host whose simulators are built.

        `seeds` are for the first resets unless, with `seeds_at_build`, they were used before.
        """
        self.spec = spec
        self._host = host
        self._num_envs = num_envs
        self._autoreset = autoreset
        self._partial = partial
        self._in_background = partial and host.in_background
        self._seed_scope = seed_scope
        self._limits = limits
        self._ledger = Ledger(num_envs)
        self._budget = RestartBudget(num_envs, limits, clock)
        self._seeds = SlotSeeds(num_envs, seeds, at_build=seeds_at_build)
        self._given_up: list[int] = []
        self._table = RowTable(spaces.leaves(spec.observation_space), 2 * num_envs)
        self._check_actions = ActionCheck(spec.action_space)

    def __len__(self) -> int:
        return self._num_envs

    @property
    def renderer(self) -> str:
        """What draws the images, where the simulators live in other processes."""
        return self._host.renderer

    def reset(self, request: messages.ResetRequest, rows: messages.Rows) -> int:
        """Reset the slots named, write a row for each, and return the nanoseconds spent on it.

        Raises `Refused` before any environment is touched.
        """
        named, seeds = check_reset(request, len(self))
        if seeds and self._seed_scope != "reset":
            raise Refused(
                Reason.SEED_SCOPE,
                "this environment takes no seeds at a reset: "
                + ("give them to OpenSession" if self._seed_scope == "session" else "it has none"),
                field="seeds",
            )
        started = perf_counter_ns()
        self._table.begin()
        self._given_up.clear()
        self._bring_back(named)
        there = self._ledger.among(
            named, phases.FRESH, phases.RUNNING, phases.ENDED, phases.STALE, phases.AWAY
        )
        self._recover(self._begin(there, dict(zip(named, seeds, strict=False))), named, named)
        missing = set(named).difference(self._table.slot)
        failed = self._ledger.among(sorted(missing), phases.FAILED)
        self._ledger.add_blanks(self._table, failed, messages.SLOT_FAILED)
        absent = sorted(missing.difference(failed))
        self._ledger.mark(absent, phases.AWAY)
        self._ledger.awaits[absent] = False
        self._ledger.add_blanks(self._table, absent, messages.SLOT_ABSENT)
        self._write(named, rows)
        return perf_counter_ns() - started

    def step(self, request: messages.StepRequest, rows: messages.Rows) -> int:
        """Step the slots named, write the rows that are there, and return the nanoseconds spent.

        A slot whose last row ended an episode ignores its action and begins the next one. Raises
        `Refused` before any environment is touched.
        """
        named = self._named(request)
        ignored = [] if self._ledger.is_calm else self._ignored(named)
        action = self._check_actions(request.action, len(named), ignored)
        started = perf_counter_ns()
        self._table.begin()
        self._given_up.clear()
        if self._partial:
            self._ledger.awaits[named] = False
        stepped = named
        if ignored:
            rows_kept = sorted(set(range(len(named))).difference(ignored))
            stepped = [named[row] for row in rows_kept]
            action = [leaf[rows_kept] for leaf in action]
        self._advance(named, stepped, action, len(ignored) > 0)
        self._write(named, rows)
        return perf_counter_ns() - started

    def render(self, request: messages.RenderRequest) -> messages.RenderReply:
        """Return a frame of every slot named; raises `Refused`, and changes nothing."""
        slots = check_render(request, len(self))
        absent = self._ledger.among(
            slots, phases.FRESH, phases.STALE, phases.AWAY, phases.DOWN, phases.FAILED
        )
        if absent:
            raise Refused(
                Reason.NOT_RESET,
                f"the slots {absent} have no frame: they are in no episode",
                field="slots",
                slots=absent,
            )
        return draw(self._host, slots, request.max_width, self._limits.max_message_bytes)

    def close(self) -> None:
        """Close every simulator; one that raises is logged."""
        self._host.close()

    def _ignored(self, named: list[int]) -> list[int]:
        """Return the rows of `named` whose slots are in no episode."""
        rows: list[int] = np.flatnonzero(self._ledger.phase[named] != phases.RUNNING).tolist()
        return rows

    def _named(self, request: messages.StepRequest) -> list[int]:
        if not self._partial:
            named = check_step_slots(request.slots, len(self))
            self._refuse_if("Step before the first Reset of", named, phases.FRESH)
        else:
            named = check_slots(request.slots, len(self))
            failed = self._ledger.phase[named] == phases.FAILED
            silent = np.array(named)[~(self._ledger.awaits[named] | failed)].tolist()
            if silent:
                raise Refused(
                    Reason.NOT_RESET,
                    f"the slots {silent} await no action: a Step answers slots by the rows that "
                    "came of them, each row once",
                    field="slots",
                    slots=silent,
                )
        if self._autoreset == messages.DISABLED:
            self._refuse_if(
                "the episode is over (autoreset is DISABLED): Reset", named, phases.ENDED
            )
        return named

    def _refuse_if(self, what: str, named: list[int], phase: int) -> None:
        if self._ledger.is_calm:
            return
        slots = self._ledger.among(named, phase)
        if slots:
            raise Refused(Reason.NOT_RESET, f"{what} the slots {slots}", field="slots", slots=slots)

    def _advance(
        self, named: list[int], stepped: list[int], action: list[np.ndarray], others: bool
    ) -> None:
        ledger, table = self._ledger, self._table
        begun: list[int] = []
        if self._partial:
            begun = ledger.among(named, phases.ENDED)
            begun += ledger.among(range(len(self)), phases.STALE)
        elif others:
            begun = ledger.among(named, phases.ENDED, phases.STALE)
        failures = self._move(Move(stepped, action, begun, [self._seed(slot) for slot in begun]))
        if self._partial:
            ledger.mark(ledger.among(begun, phases.ENDED, phases.STALE), phases.AWAY)
            self._settle(failures, named)
        elif failures:
            self._recover(failures, named, named)
        if self._autoreset == messages.SAME_STEP:
            ended = ledger.among(sorted(set(table.slot)), phases.ENDED)
            failures = self._begin(ended)
            if self._partial:
                ledger.mark(ledger.among(ended, phases.ENDED), phases.AWAY)
                self._settle(failures, named)
            else:
                self._recover(failures, named, named)
        if others or self._given_up:
            told = named if not self._partial else sorted({*named, *self._given_up})
            failed = ledger.among(told, phases.FAILED)
            ledger.add_blanks(table, failed, messages.SLOT_FAILED)

    def _begin(self, slots: list[int], seeds: dict[int, int] | None = None) -> list[Failure]:
        """Begin an episode in `slots`."""
        if not slots:
            return []
        chosen = [self._seed(slot, (seeds or {}).get(slot)) for slot in slots]
        return self._move(Move([], self.spec.no_action, slots, chosen))

    def _move(self, move: Move) -> list[Failure]:
        start = len(self._table)
        try:
            failures = self._host.advance(move, self._table)
        except NeedsPartialBatch as error:
            raise refusal_of(error, debug=False) from error
        self._ledger.count(self._table, start)
        return failures

    def _settle(self, failures: list[Failure], named: list[int]) -> None:
        """See to it that there is a row, unless slots are there that the client may answer."""
        if not self._in_background:
            self._recover(failures, named, range(len(self)))
        else:
            self._restart(failures)
            self._collect("now")
            while not self._table.slot and not self._given_up and self._is_anyone(phases.DOWN):
                self._collect("any")
        if not self._table.slot and not self._given_up and not self._ledger.awaits.any():
            self._recover(self._stuck(), named, range(len(self)))

    def _collect(self, until: Until) -> None:
        start = len(self._table)
        rebuilt, failures = self._host.collect(self._table, until)
        self._ledger.count(self._table, start)
        self._ledger.note_rebuilt(rebuilt)
        self._restart(failures)

    def _recover(
        self, failures: list[Failure], named: Sequence[int], wanted: Sequence[int]
    ) -> None:
        """Replace simulators until all are there or given up.

        Those of the slots `wanted` that are `named`, or were in an episode, begin the next one.
        """
        while failures:
            self._restart(failures)
            start = len(self._table)
            rebuilt, failures = self._host.collect(self._table, "all")
            self._ledger.count(self._table, start)
            self._ledger.note_rebuilt(rebuilt)
            again = self._ledger.among(rebuilt, phases.FRESH, phases.STALE)
            failures = failures + self._begin(
                [slot for slot in again if slot in wanted and self._may_begin(slot, named)]
            )

    def _bring_back(self, named: list[int]) -> None:
        """Wait for the simulators that are being replaced, and retry those that were given up."""
        failed = self._ledger.among(named, phases.FAILED)
        groups = {self._host.mates(slot) for slot in failed}
        for group in sorted(groups):
            if all(self._budget.allows(slot) for slot in group):
                self._ledger.mark(group, phases.DOWN)
                self._ledger.lost[list(group)] = True
                self._replace(group, 0.0)
        failures: list[Failure] = []
        while failures or self._is_anyone(phases.DOWN):
            self._restart(failures)
            rebuilt, failures = self._host.collect(self._table, "all")
            self._ledger.note_rebuilt(rebuilt)
            # What their resets brought is not for this reply: they begin again in the next Step.
            self._table.begin()

    def _restart(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            for slot in failure.slots:
                self._note_failure(slot, failure)
            kept = [slot for slot in failure.slots if self._has_budget(slot)]
            lost = [slot for slot in failure.slots if slot not in kept]
            if lost:
                self._ledger.mark(lost, phases.FAILED)
                self._host.discard(lost)
                self._given_up += lost
            if kept:
                self._replace(kept, self._budget.delay_s(kept))

    def _replace(self, slots: Sequence[int], delay_s: float) -> None:
        seeds = self._seeds.note_restart(slots)
        reset = [slot for slot in slots if self._in_background and self._ledger.episode[slot] >= 0]
        self._host.restart(Restart(tuple(slots), tuple(reset), seeds, delay_s))

    def _note_failure(self, slot: int, failure: Failure) -> None:
        self._ledger.note_loss(slot, failure.reason, failure.message)
        _LOG.error(
            "slot %d failed in episode %d after step %d (failure %d in %.0f s): %s",
            slot,
            self._ledger.episode[slot],
            self._ledger.step[slot],
            self._budget.note(slot),
            self._limits.restart_window_s,
            failure.message.splitlines()[-1] if failure.message else failure.reason,
        )

    def _stuck(self) -> list[Failure]:
        silent = self._ledger.among(range(len(self)), phases.RUNNING, phases.AWAY)
        groups = sorted({self._host.mates(slot) for slot in silent})
        message = "the simulator returned no row although every slot was answered"
        return [Failure(group, Reason.ENV_CONTRACT, message) for group in groups]

    def _seed(self, slot: int, asked: int | None = None) -> int | None:
        return self._seeds.of_reset(slot, asked, restarted=bool(self._ledger.lost[slot]))

    def _has_budget(self, slot: int) -> bool:
        return all(self._budget.allows(mate) for mate in self._host.mates(slot))

    def _may_begin(self, slot: int, named: Sequence[int]) -> bool:
        return slot in named or int(self._ledger.episode[slot]) >= 0

    def _is_anyone(self, phase: int) -> bool:
        return bool((self._ledger.phase == phase).any())

    def _write(self, named: list[int], rows: messages.Rows) -> None:
        table = self._table
        if table.slot == named:
            table.write(rows)
            return
        order = sorted(range(len(table)), key=self._rank(named))
        table.write(rows, order)

    def _rank(self, named: list[int]) -> Callable[[int], int]:
        """Return the place of each row: where the slots named ascend, so do all."""
        slots = self._table.slot
        if named == sorted(named):
            return slots.__getitem__
        places = {slot: place for place, slot in enumerate(named)}
        return lambda row: places.get(slots[row], len(self) + slots[row])
