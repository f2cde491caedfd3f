"""The slots of one session: who is stepped, who begins an episode, who is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns

import numpy as np

from wmrun_envserver.backends.base import NeedsPartialBatch, SeedScope
from wmrun_envserver.server import ledger as phases
from wmrun_envserver.server.hosts import Failure, Host, Move, Spec
from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.ledger import Ledger
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused, refusal_of
from wmrun_envserver.server.rendering import draw
from wmrun_envserver.server.restarts import Restarts
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.seeding import SlotSeeds
from wmrun_envserver.server.shared_memory import SharedMemory
from wmrun_envserver.server.validation import (
    ActionCheck,
    check_render,
    check_reset,
    check_slots,
    check_step_slots,
)
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.status import Reason


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
        resets_together: bool = False,
        memory: SharedMemory | None = None,
        limits: Limits,
        clock: Clock,
    ) -> None:
        """Take over a host whose simulators are built.

        `seeds` are for the first resets unless, with `seeds_at_build`, they were used before.
        Observations are written to `memory`, where there is some.
        """
        self.spec = spec
        self.memory = memory
        self._host = host
        self._num_envs = num_envs
        self._autoreset = autoreset
        self._partial = partial
        self._seed_scope = seed_scope
        self._resets_together = resets_together
        self._limits = limits
        self._ledger = Ledger(num_envs)
        self._seeds = SlotSeeds(num_envs, seeds, at_build=seeds_at_build)
        self._restarts = Restarts(
            host, self._ledger, self._seeds, limits, clock, in_background=partial
        )
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
        if self._resets_together:
            self._refuse_torn(named)
        started = perf_counter_ns()
        self._table.begin()
        self._restarts.given_up.clear()
        self._ledger.entered[named] = True
        self._restarts.retry(named)
        self._restarts.finish(self._table)
        there = self._ledger.among(
            named, phases.FRESH, phases.RUNNING, phases.ENDED, phases.STALE, phases.AWAY
        )
        self._recover(self._begin(there, dict(zip(named, seeds, strict=False))), named)
        missing = set(named).difference(self._table.slot)
        failed = self._ledger.among(sorted(missing), phases.FAILED)
        self._ledger.add_blanks(self._table, failed, messages.SLOT_FAILED)
        absent = sorted(missing.difference(failed))
        self._ledger.mark(absent, phases.AWAY)
        self._ledger.awaits[absent] = False
        self._ledger.add_blanks(self._table, absent, messages.SLOT_ABSENT)
        self._write(named, rows, request.seq)
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
        self._restarts.given_up.clear()
        if self._partial:
            self._ledger.awaits[named] = False
        stepped = named
        if ignored:
            rows_kept = sorted(set(range(len(named))).difference(ignored))
            stepped = [named[row] for row in rows_kept]
            action = [leaf[rows_kept] for leaf in action]
        self._advance(named, stepped, action, len(ignored) > 0)
        self._write(named, rows, request.seq)
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
        if self.memory is not None:
            self.memory.close()

    def _refuse_torn(self, named: list[int]) -> None:
        """Refuse a Reset of some running slots of a simulator where others go on."""
        running = self._ledger.among(range(len(self)), phases.RUNNING)
        torn = {self._host.mates(slot) for slot in running if slot in named}
        others = [slot for slot in running if slot not in named and self._host.mates(slot) in torn]
        if others:
            raise Refused(
                Reason.UNSUPPORTED,
                f"this environment resets slots in the middle of an episode only together: name "
                f"slots {others}, too, which share a simulator with those named",
                field="slots",
                slots=others,
            )

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
            if not self._ledger.awaits.all():
                self._refuse_silent(named)
        if self._autoreset == messages.DISABLED:
            self._refuse_if(
                "the episode is over (autoreset is DISABLED): Reset", named, phases.ENDED
            )
        return named

    def _refuse_silent(self, named: list[int]) -> None:
        failed = self._ledger.phase[named] == phases.FAILED
        silent = np.array(named)[~(self._ledger.awaits[named] | failed)].tolist()
        if silent:
            raise Refused(
                Reason.NOT_RESET,
                f"the slots {silent} await no action: a Step answers slots by the rows that came "
                "of them, each row once",
                field="slots",
                slots=silent,
            )

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
        if self._partial and not ledger.is_calm:
            begun = ledger.among(named, phases.ENDED)
            begun += ledger.among(range(len(self)), phases.STALE)
        elif others:
            begun = ledger.among(named, phases.ENDED, phases.STALE)
        failures = self._move(Move(stepped, action, begun, [self._seed(slot) for slot in begun]))
        if self._partial:
            if begun:
                ledger.mark(ledger.among(begun, phases.ENDED, phases.STALE), phases.AWAY)
            self._settle(failures)
        elif failures:
            self._recover(failures, named)
        if self._autoreset == messages.SAME_STEP:
            ended = ledger.among(sorted(set(table.slot)), phases.ENDED)
            failures = self._begin(ended)
            if self._partial:
                ledger.mark(ledger.among(ended, phases.ENDED), phases.AWAY)
                self._settle(failures)
            else:
                self._recover(failures, named)
        if others or self._restarts.given_up:
            told = named if not self._partial else sorted({*named, *self._restarts.given_up})
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

    def _settle(self, failures: list[Failure]) -> None:
        """See to it that there is a row, unless slots are there that the client may answer."""
        restarts = self._restarts
        restarts.begin(failures)
        _, failures = restarts.collect(self._table, "now")
        restarts.begin(failures)
        while not self._table.slot and not restarts.given_up and restarts.are_pending:
            _, failures = restarts.collect(self._table, "any")
            restarts.begin(failures)
        if not self._table.slot and not self._restarts.given_up and not self._ledger.awaits.any():
            self._recover(self._stuck(), range(len(self)))

    def _recover(self, failures: list[Failure], wanted: Sequence[int]) -> None:
        """Replace simulators until all are there or given up; those of `wanted` begin an episode.

        Slots that no Reset named yet go on waiting for one.
        """
        while failures:
            self._restarts.begin(failures)
            rebuilt, failures = self._restarts.collect(self._table, "all")
            again = self._ledger.among(rebuilt, phases.STALE)
            failures = failures + self._begin([slot for slot in again if slot in wanted])

    def _stuck(self) -> list[Failure]:
        silent = self._ledger.among(range(len(self)), phases.RUNNING, phases.AWAY)
        groups = sorted({self._host.mates(slot) for slot in silent})
        message = "the simulator returned no row although every slot was answered"
        return [Failure(group, Reason.ENV_CONTRACT, message) for group in groups]

    def _seed(self, slot: int, asked: int | None = None) -> int | None:
        return self._seeds.of_reset(slot, asked, restarted=bool(self._ledger.lost[slot]))

    def _write(self, named: list[int], rows: messages.Rows, seq: int) -> None:
        table = self._table
        encode = tensors.encode if self.memory is None else self.memory.half(seq).encode
        if table.slot == named:
            table.write(rows, None, encode)
            return
        order = sorted(range(len(table)), key=self._rank(named))
        table.write(rows, order, encode)

    def _rank(self, named: list[int]) -> Callable[[int], int]:
        """Return the place of each row: where the slots named ascend, so do all."""
        slots = self._table.slot
        if named == sorted(named):
            return slots.__getitem__
        places = {slot: place for place, slot in enumerate(named)}
        return lambda row: places.get(slots[row], len(self) + slots[row])
