"""The simulators of a session in worker processes that work at the same time."""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wmrun_envserver.backends.base import Batch, EnvContractError
from wmrun_envserver.server.framing import ChannelClosed, Frame, Kind
from wmrun_envserver.server.hosts import Failure, Host, Move, Restart, Spec, Until
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.worker_jobs import (
    Job,
    TimeLimits,
    advance_job,
    batch_of,
    build_job,
    discard_job,
    render_job,
)
from wmrun_envserver.server.worker_process import WorkerProcess
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

_CLOSE_WAIT_S = 3.0


@dataclass
class _Member:
    """One worker process and the slots that are its own."""

    slots: range
    process: WorkerProcess | None = None
    held: set[int] = field(default_factory=set)
    """Slots that have a simulator, or are about to have one."""
    jobs: deque[Job] = field(default_factory=deque)
    """One after the other; the first may have been sent."""


class WorkerHosts(Host):
    """Spreads simulators over processes; the death or the hang of one costs only its own slots."""

    in_background = True

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
        self._launch = launch
        self._spec = spec
        self._polls_all = polls_all
        self._limits = limits
        self._members = [
            _Member(slots) for slots in _spread(num_slots, slots_per_simulator, num_workers)
        ]
        self._poll = select.poll()
        self._by_fd: dict[int, _Member] = {}
        self._arrived: list[tuple[_Member, Batch]] = []
        self._failures: list[Failure] = []
        self._rebuilt: list[int] = []
        self._frame: np.ndarray | Refused | None = None
        self._failed_field = ""
        self._refused: Refused | None = None

    def build(self, slots: Sequence[int], seeds: Sequence[int] = ()) -> None:
        """Start the workers and build all simulators; raises `Refused`, with nothing left."""
        by_slot = dict(zip(slots, seeds, strict=False))
        try:
            for member in self._members:
                self._queue_builds(member, Restart(tuple(member.slots), (), by_slot, 0.0))
            self._pump(lambda: not self._any_jobs() or bool(self._failures))
            if self._failures:
                failure = self._failures[0]
                if failure.reason not in (Reason.ENV_FAILED, Reason.ENV_CONTRACT):
                    raise Refused(failure.reason, failure.message, field=self._failed_field)
                raise Refused(
                    Reason.ENV_FAILED, f"the environment could not be built: {failure.message}"
                )
        except BaseException:
            self.close()
            raise
        self._rebuilt.clear()

    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        for member in self._members:
            part = move.within(member.slots)
            if member.process is None or (part.is_empty and not self._polls_all):
                continue
            member.jobs.append(advance_job(part, self.slots_per_simulator, self._limits))
        self._pump(lambda: not any(map(_is_stepped, self._members)))
        refused, self._refused = self._refused, None
        if refused is not None:
            self._arrived.clear()
            raise refused
        self._flush(table)
        return self._taken_failures()

    def restart(self, restart: Restart) -> None:
        for member in self._members:
            own = tuple(slot for slot in restart.slots if slot in member.slots)
            if own:
                self._queue_builds(member, restart._replace(slots=own))

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        if until == "now":
            self._start_jobs()
            self._take_frames(0.0)
        elif until == "all":
            self._pump(lambda: not self._any_jobs())
        else:
            self._pump(lambda: bool(self._arrived or self._failures) or not self._any_jobs())
        self._flush(table)
        rebuilt, self._rebuilt = self._rebuilt, []
        return rebuilt, self._taken_failures()

    def discard(self, slots: Sequence[int]) -> None:
        for member in self._members:
            own = member.held.intersection(slots)
            member.held -= own
            if own and member.process is not None:
                member.jobs.append(discard_job(sorted(own), self._limits))
                if not member.held and len(member.jobs) == 1:
                    self._end(member)

    def render(self, slot: int) -> np.ndarray:
        member = next(member for member in self._members if slot in member.slots)
        self._frame = None
        member.jobs.append(render_job(slot, self._limits))
        self._pump(lambda: not any(job.kind == Kind.RENDER for job in member.jobs))
        if isinstance(self._frame, np.ndarray):
            return self._frame
        raise self._frame or Refused(Reason.ENV_FAILED, f"the process of slot {slot} is gone")

    def close(self) -> None:
        """End every worker: those that are idle by themselves, within a few seconds."""
        idle = [m for m in self._members if m.process is not None and not m.jobs]
        for member in idle:
            assert member.process is not None
            try:
                member.process.channel.send(Kind.CLOSE, b"", time.monotonic())
            except (ChannelClosed, TimeoutError):
                pass
        deadline = time.monotonic() + _CLOSE_WAIT_S
        for member in idle:
            assert member.process is not None
            if not member.process.await_exit(max(0.0, deadline - time.monotonic())):
                _LOG.warning("worker %d does not close: killed", member.process.pid)
        for member in self._members:
            self._end(member)

    def _queue_builds(self, member: _Member, restart: Restart) -> None:
        due = time.monotonic() + restart.delay_s
        for first in restart.slots[:: self.slots_per_simulator]:
            slots = self.mates(first)
            member.held.update(slots)
            member.jobs.append(build_job(slots, restart, due, self._limits))

    def _pump(self, is_done: Callable[[], bool]) -> None:
        """Send jobs and take their answers until `is_done()`."""
        while True:
            self._start_jobs()
            if is_done():
                return
            self._take_frames(self._patience_s())

    def _start_jobs(self) -> None:
        now = time.monotonic()
        for member in self._members:
            while member.jobs and member.jobs[0].deadline is None:
                job = member.jobs[0]
                if job.not_before > now:
                    break
                self._start(member, job)

    def _start(self, member: _Member, job: Job) -> None:
        job.deadline = time.monotonic() + job.limit_s
        try:
            if member.process is None:
                self._open(member, job.deadline)
            assert member.process is not None
            for kind, payload in job.frames:
                member.process.channel.send(kind, payload, job.deadline)
        except ChannelClosed:
            self._lose_dead(member)
        except TimeoutError:
            self._lose_hung(member, job)
        except OSError as error:
            message = f"no process can be started: {error.strerror}"
            self._lose(member, Reason.ENV_FAILED, message)
        else:
            if job.kind == Kind.DISCARD:
                member.jobs.popleft()

    def _open(self, member: _Member, deadline: float) -> None:
        member.process = self._launch()
        fd = member.process.channel.fileno()
        self._by_fd[fd] = member
        self._poll.register(fd, select.POLLIN)
        member.process.greet(deadline)

    def _patience_s(self) -> float:
        heads = [member.jobs[0] for member in self._members if member.jobs]
        times = [job.not_before if job.deadline is None else job.deadline for job in heads]
        return max(0.0, min(times) - time.monotonic())

    def _take_frames(self, timeout_s: float) -> None:
        for fd, _ in self._poll.poll(timeout_s * 1000):
            self._take_from(self._by_fd[fd])
        now = time.monotonic()
        for member in self._members:
            job = member.jobs[0] if member.jobs else None
            if job is not None and job.deadline is not None and job.deadline <= now:
                self._lose_hung(member, job)

    def _take_from(self, member: _Member) -> None:
        try:
            while member.process is not None:
                frame = member.process.channel.receive()
                if frame is None:
                    return
                self._take(member, frame)
        except ChannelClosed:
            self._lose_dead(member)
        except Refused:
            raise
        except Exception:
            _LOG.exception("a worker sent what cannot be read")
            self._lose(member, Reason.ENV_FAILED, "its process sent what cannot be read")

    def _take(self, member: _Member, frame: Frame) -> None:
        assert member.process is not None
        if frame.kind == Kind.PIDS:
            member.process.note_children(frame.payload)
            return
        job = member.jobs.popleft()
        if frame.kind == Kind.READY:
            self._take_ready(member, job, messages.OpenSessionReply.FromString(frame.payload))
        elif frame.kind == Kind.ROWS:
            self._take_rows(member, job, messages.Rows.FromString(frame.payload))
        elif frame.kind == Kind.FRAME:
            self._frame = tensors.decode(messages.Tensor.FromString(frame.payload))
        else:
            self._take_failed(job, messages.ErrorDetail.FromString(frame.payload))

    def _take_ready(self, member: _Member, job: Job, reply: messages.OpenSessionReply) -> None:
        self.renderer = reply.renderer
        try:
            self._spec.admit(
                spaces.decode_space(reply.observation_space),
                spaces.decode_space(reply.action_space),
            )
        except EnvContractError as error:
            self._fail(job.slots, Reason.ENV_CONTRACT, str(error))
            return
        assert job.restart is not None
        reset = [slot for slot in job.restart.reset if slot in job.slots]
        self._rebuilt += [slot for slot in job.slots if slot not in reset]
        if reset:
            seeds = [job.restart.seeds.get(slot) for slot in reset]
            move = Move([], self._spec.no_action, reset, seeds)
            member.jobs.appendleft(
                advance_job(move, self.slots_per_simulator, self._limits, job.restart)
            )

    def _take_failed(self, job: Job, detail: messages.ErrorDetail) -> None:
        if job.kind == Kind.RENDER:
            self._frame = Refused(detail.reason, f"it cannot be drawn: {detail.message}")
        elif job.kind == Kind.ADVANCE and job.restart is None:
            self._refused = Refused(detail.reason, detail.message, field=detail.field)
        else:
            self._failed_field = detail.field
            self._fail(job.slots, detail.reason, detail.message)

    def _take_rows(self, member: _Member, job: Job, rows: messages.Rows) -> None:
        self._arrived.append((member, batch_of(rows)))
        for error in rows.errors:
            self._fail(self.mates(error.slot), error.reason, error.message)
        if job.restart is not None and not rows.errors:
            self._rebuilt += job.slots

    def _flush(self, table: RowTable) -> None:
        # In the order of slots, whoever was first: rows must not depend on the timing.
        arrived = sorted(self._arrived, key=lambda item: item[0].slots.start)
        self._arrived.clear()
        for member, batch in arrived:
            try:
                table.add_batch(batch)
            except EnvContractError as error:
                self._lose(member, Reason.ENV_CONTRACT, str(error))

    def _lose_dead(self, member: _Member) -> None:
        assert member.process is not None
        member.process.await_exit()
        how = self._end_process(member)
        self._lose(member, Reason.ENV_FAILED, f"its process ended: {how}")

    def _lose_hung(self, member: _Member, job: Job) -> None:
        doing = {Kind.BUILD: "to be built", Kind.RENDER: "to be drawn"}.get(job.kind, "to move")
        message = f"it took longer than {job.limit_s:g} s {doing}: killed"
        self._lose(member, Reason.ENV_FAILED, message)

    def _lose(self, member: _Member, reason: str, message: str) -> None:
        slots = sorted(member.held)
        self._end(member)
        if slots:
            _LOG.error("the worker of the slots %s: %s", slots, message)
            self._failures.append(Failure(tuple(slots), reason, message))

    def _fail(self, slots: Sequence[int], reason: str, message: str) -> None:
        self._failures.append(Failure(tuple(slots), reason, message))

    def _end(self, member: _Member) -> None:
        member.jobs.clear()
        member.held.clear()
        self._end_process(member)

    def _end_process(self, member: _Member) -> str:
        process, member.process = member.process, None
        if process is None:
            return ""
        fd = process.channel.fileno()
        self._poll.unregister(fd)
        del self._by_fd[fd]
        return process.end()

    def _any_jobs(self) -> bool:
        return any(member.jobs for member in self._members)

    def _taken_failures(self) -> list[Failure]:
        failures = sorted(self._failures, key=lambda failure: failure.slots)
        self._failures.clear()
        return failures


def _spread(num_slots: int, slots_per_simulator: int, num_workers: int) -> list[range]:
    num_simulators = num_slots // slots_per_simulator
    edges = [slots_per_simulator * (i * num_simulators // num_workers) for i in range(num_workers)]
    return [range(*pair) for pair in zip(edges, [*edges[1:], num_slots], strict=True)]


def _is_stepped(member: _Member) -> bool:
    return any(job.kind == Kind.ADVANCE and job.restart is None for job in member.jobs)
