"""The worker processes of a session: each does its jobs one by one, within their time limits."""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wmrun_envserver.server.framing import ChannelClosed, Frame, Kind
from wmrun_envserver.server.hosts import Failure
from wmrun_envserver.server.worker_jobs import Job
from wmrun_envserver.server.worker_process import WorkerProcess
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

_CLOSE_WAIT_S = 3.0


@dataclass
class Member:
    """One worker process and the slots that are its own."""

    slots: range
    process: WorkerProcess | None = None
    """Started by the first job."""
    held: set[int] = field(default_factory=set)
    """Slots that have a simulator, or are about to have one."""
    jobs: deque[Job] = field(default_factory=deque)
    """One after the other; the first may have been sent."""


class Answer(NamedTuple):
    """What a member said to the job that it has done."""

    member: Member
    job: Job
    frame: Frame


class WorkerCrew:
    """Members whose death or hang costs only the slots that they hold their simulators."""

    def __init__(self, launch: Callable[[], WorkerProcess], slots: Sequence[range]) -> None:
        self.members = tuple(Member(own) for own in slots)
        self.losses: list[Failure] = []
        """Of members, since whoever reads this cleared it."""
        self._launch = launch
        self._poll = select.poll()
        self._by_fd: dict[int, Member] = {}

    @property
    def is_idle(self) -> bool:
        """Whether every job is done."""
        return not any(member.jobs for member in self.members)

    def send_jobs(self) -> None:
        """Send every member that is idle its next job."""
        for member in self.members:
            while member.jobs and member.jobs[0].deadline is None:
                self._send(member, member.jobs[0])

    def answers(self, until: float) -> Iterator[Answer]:
        """Wait for answers, and yield them; a member whose time is over is lost.

        Waits no longer than `until`, in seconds of `time.monotonic`.
        """
        heads = [member.jobs[0] for member in self.members if member.jobs]
        deadlines = [job.deadline for job in heads if job.deadline is not None]
        timeout_s = max(0.0, min([*deadlines, until]) - time.monotonic())
        for fd, _ in self._poll.poll(timeout_s * 1000):
            yield from self._answers_of(self._by_fd[fd])
        now = time.monotonic()
        for member in self.members:
            job = member.jobs[0] if member.jobs else None
            if job is not None and job.deadline is not None and job.deadline <= now:
                self._lose_hung(member, job)

    def lose(self, member: Member, reason: str, message: str) -> None:
        """End a member for that reason."""
        slots = sorted(member.held)
        self.end(member)
        if slots:
            _LOG.error("the worker of the slots %s: %s", slots, message)
            self.losses.append(Failure(tuple(slots), reason, message))

    def lose_unread(self, member: Member) -> None:
        """End a member because of the exception, being handled, that its answer led to."""
        _LOG.exception("a worker sent what cannot be read")
        self.lose(member, Reason.ENV_FAILED, "its process sent what cannot be read")

    def end(self, member: Member) -> None:
        """End a member that is not needed."""
        member.jobs.clear()
        member.held.clear()
        self._end_process(member)

    def close(self) -> None:
        """End every member: those that are idle by themselves, within a few seconds."""
        idle = [(m, m.process) for m in self.members if m.process is not None and not m.jobs]
        for _, process in idle:
            try:
                process.channel.send(Kind.CLOSE, b"", time.monotonic())
            except (ChannelClosed, TimeoutError):
                pass
        deadline = time.monotonic() + _CLOSE_WAIT_S
        for _, process in idle:
            if not process.await_exit(max(0.0, deadline - time.monotonic())):
                _LOG.warning("worker %d does not close: killed", process.pid)
        for member in self.members:
            self.end(member)

    def _send(self, member: Member, job: Job) -> None:
        job.deadline = time.monotonic() + job.limit_s
        try:
            process = member.process or self._open(member, job.deadline)
            for kind, payload in job.frames:
                process.channel.send(kind, payload, job.deadline)
        except ChannelClosed:
            self._lose_dead(member)
        except TimeoutError:
            self._lose_hung(member, job)
        except OSError as error:
            message = f"no process can be started: {error.strerror}"
            self.lose(member, Reason.ENV_FAILED, message)
        else:
            if job.kind == Kind.DISCARD:
                member.jobs.popleft()

    def _open(self, member: Member, deadline: float) -> WorkerProcess:
        process = member.process = self._launch()
        fd = process.channel.fileno()
        self._by_fd[fd] = member
        self._poll.register(fd, select.POLLIN)
        process.greet(deadline)
        return process

    def _answers_of(self, member: Member) -> Iterator[Answer]:
        try:
            # Whoever takes an answer may end the member.
            while member.process is not None:
                frame = member.process.channel.receive()
                if frame is None:
                    return
                if frame.kind == Kind.PIDS:
                    member.process.note_children(frame.payload)
                else:
                    yield Answer(member, member.jobs.popleft(), frame)
        except ChannelClosed:
            self._lose_dead(member)
        except Exception:
            self.lose_unread(member)

    def _lose_dead(self, member: Member) -> None:
        assert member.process is not None
        member.process.await_exit()
        how = self._end_process(member)
        self.lose(member, Reason.ENV_FAILED, f"its process ended: {how}")

    def _lose_hung(self, member: Member, job: Job) -> None:
        doing = {Kind.BUILD: "to be built", Kind.RENDER: "to be drawn"}.get(job.kind, "to move")
        message = f"it took longer than {job.limit_s:g} s {doing}: killed"
        self.lose(member, Reason.ENV_FAILED, message)

    def _end_process(self, member: Member) -> str:
        process, member.process = member.process, None
        if process is None:
            return ""
        fd = process.channel.fileno()
        self._poll.unregister(fd)
        del self._by_fd[fd]
        return process.end()
