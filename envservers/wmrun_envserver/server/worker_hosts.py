"""The simulators of a session in worker processes that work at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from wmrun_envserver.server.framing import Kind
from wmrun_envserver.server.hosts import Failure, Host, Move, Restart, Spec, Until
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.restart_queue import RestartQueue
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.worker_crew import Member, WorkerCrew
from wmrun_envserver.server.worker_jobs import Jobs, TimeLimits
from wmrun_envserver.server.worker_outcomes import Outcomes
from wmrun_envserver.server.worker_process import WorkerProcess


class WorkerHosts(Host):
    """Spreads simulators over processes; the death or the hang of one costs only its own slots."""

    def __init__(
        self,
        launch: Callable[[], WorkerProcess],
        spec: Spec,
        *,
        num_slots: int,
        slots_per_simulator: int,
        num_workers: int,
        polls_all: bool,
        limits: TimeLimits,
    ) -> None:
        """With `polls_all` every call asks every simulator for rows, whoever was named."""
        self.slots_per_simulator = slots_per_simulator
        self._polls_all = polls_all
        self._jobs = Jobs(slots_per_simulator, limits)
        self._crew = WorkerCrew(launch, _spread(num_slots, slots_per_simulator, num_workers))
        self._restarts = RestartQueue()
        self._outcomes = Outcomes(self._crew, self._jobs, spec, self.mates)

    @property
    def renderer(self) -> str:
        return self._outcomes.renderer

    def build(self, slots: Sequence[int], seeds: Sequence[int] = ()) -> None:
        """Start the workers and build all simulators; raises `Refused`, with nothing left."""
        by_slot = dict(zip(slots, seeds, strict=False))
        try:
            self._restarts.add(Restart(tuple(slots), (), by_slot, 0.0))
            self._pump(lambda: self._is_idle or self._outcomes.has_failures)
            self._outcomes.check_built()
        except BaseException:
            self.close()
            raise

    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        for member in self._crew.members:
            part = move.within(member.slots)
            if member.process is None or (part.is_empty and not self._polls_all):
                continue
            member.jobs.append(self._jobs.advance(part))
        self._pump(lambda: not any(map(_is_stepped, self._crew.members)))
        return self._outcomes.rows(table)

    def restart(self, restart: Restart) -> None:
        for member in self._crew.members:
            self._drop(member, restart.slots)
        self._outcomes.forget(restart.slots)
        self._restarts.add(restart)

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        if until == "now":
            self._send_jobs()
            self._take_answers(until=0.0)
        elif until == "all":
            self._pump(lambda: self._is_idle)
        else:
            self._pump(
                lambda: self._is_idle or self._outcomes.has_rows or self._outcomes.has_failures
            )
        failures = self._outcomes.rows(table)
        return self._outcomes.rebuilt(), failures

    def discard(self, slots: Sequence[int]) -> None:
        for member in self._crew.members:
            if self._drop(member, slots) and not member.held and len(member.jobs) == 1:
                self._crew.end(member)

    def render(self, slot: int) -> np.ndarray:
        member = next(member for member in self._crew.members if slot in member.slots)
        member.jobs.append(self._jobs.render(slot))
        self._pump(lambda: not any(job.kind == Kind.RENDER for job in member.jobs))
        return self._outcomes.frame(slot)

    def close(self) -> None:
        self._crew.close()

    @property
    def _is_idle(self) -> bool:
        return self._crew.is_idle and self._restarts.next_due == inf

    def _drop(self, member: Member, slots: Sequence[int]) -> bool:
        """Have `member` close its simulators of `slots`; return whether it has a process to."""
        own = member.held.intersection(slots)
        member.held -= own
        if not own or member.process is None:
            return False
        member.jobs.append(self._jobs.discard(sorted(own)))
        return True

    def _pump(self, is_done: Callable[[], bool]) -> None:
        """Send jobs and take their answers until `is_done()`."""
        while True:
            self._send_jobs()
            if is_done():
                return
            self._take_answers(until=self._restarts.next_due)

    def _send_jobs(self) -> None:
        for restart in self._restarts.take("now"):
            for first in restart.slots[:: self.slots_per_simulator]:
                slots = self.mates(first)
                member = next(member for member in self._crew.members if first in member.slots)
                member.held.update(slots)
                member.jobs.append(self._jobs.build(slots, restart))
        self._crew.send_jobs()

    def _take_answers(self, until: float) -> None:
        for answer in self._crew.answers(until):
            try:
                self._outcomes.take(answer)
            except Refused:
                raise
            except Exception:
                self._crew.lose_unread(answer.member)


def _spread(num_slots: int, slots_per_simulator: int, num_workers: int) -> list[range]:
    num_simulators = num_slots // slots_per_simulator
    edges = [slots_per_simulator * (i * num_simulators // num_workers) for i in range(num_workers)]
    return [range(*pair) for pair in zip(edges, [*edges[1:], num_slots], strict=True)]


def _is_stepped(member: Member) -> bool:
    return any(job.kind == Kind.ADVANCE and job.restart is None for job in member.jobs)
