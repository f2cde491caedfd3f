"""What came of the jobs of worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Batch, EnvContractError
from wmrun_envserver.server.framing import Kind
from wmrun_envserver.server.hosts import Failure, Move, Spec
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.worker_crew import Answer, Member, WorkerCrew
from wmrun_envserver.server.worker_jobs import Job, Jobs, batch_of
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.status import Reason


class Outcomes:
    """Keeps what the members of a crew answered until it is asked for."""

    def __init__(
        self, crew: WorkerCrew, jobs: Jobs, spec: Spec, mates: Callable[[int], tuple[int, ...]]
    ) -> None:
        """`mates` are the slots that share the simulator of a slot."""
        self.renderer = ""
        """What draws the images of the simulators, once there is one."""
        self._crew = crew
        self._jobs = jobs
        self._spec = spec
        self._mates = mates
        self._arrived: list[tuple[Member, Batch]] = []
        self._failures: list[Failure] = []
        self._failed_field = ""
        self._rebuilt: list[int] = []
        self._frame: np.ndarray | Refused | None = None
        self._refused: Refused | None = None

    @property
    def has_failures(self) -> bool:
        """Whether a slot lost its simulator."""
        return bool(self._failures or self._crew.losses)

    @property
    def has_rows(self) -> bool:
        """Whether a member returned rows."""
        return bool(self._arrived)

    def take(self, answer: Answer) -> None:
        """Note an answer; a simulator that was built anew is reset before its member goes on."""
        member, job, frame = answer
        if frame.kind == Kind.READY:
            self._take_ready(member, job, messages.OpenSessionReply.FromString(frame.payload))
        elif frame.kind == Kind.ROWS:
            self._take_rows(member, job, messages.Rows.FromString(frame.payload))
        elif frame.kind == Kind.FRAME:
            self._frame = tensors.decode(messages.Tensor.FromString(frame.payload))
        else:
            self._take_failed(job, messages.ErrorDetail.FromString(frame.payload))

    def check_built(self) -> None:
        """Raise `Refused` where one of the first simulators could not be built."""
        self._rebuilt.clear()
        failures = self._taken_failures()
        if not failures:
            return
        _, reason, message = failures[0]
        if reason in (Reason.ENV_FAILED, Reason.ENV_CONTRACT):
            raise Refused(Reason.ENV_FAILED, f"the environment could not be built: {message}")
        raise Refused(reason, message, field=self._failed_field)

    def rows(self, table: RowTable) -> list[Failure]:
        """Move the rows that came to `table` and return the failures; raises `Refused`."""
        refused, self._refused = self._refused, None
        if refused is not None:
            self._arrived.clear()
            raise refused
        # In the order of slots, whoever was first: rows must not depend on the timing.
        arrived = sorted(self._arrived, key=lambda item: item[0].slots.start)
        self._arrived.clear()
        for member, batch in arrived:
            try:
                table.add_batch(batch)
            except EnvContractError as error:
                self._crew.lose(member, Reason.ENV_CONTRACT, str(error))
        return self._taken_failures()

    def rebuilt(self) -> list[int]:
        """Return the slots whose simulators were replaced, and reset where that was asked for."""
        rebuilt, self._rebuilt = self._rebuilt, []
        return rebuilt

    def forget(self, slots: Sequence[int]) -> None:
        """Forget that the simulators of `slots` were replaced: they are gone again."""
        self._rebuilt = [slot for slot in self._rebuilt if slot not in slots]

    def frame(self, slot: int) -> np.ndarray:
        """Return the frame that was drawn of `slot`; raises `Refused`."""
        frame, self._frame = self._frame, None
        if isinstance(frame, np.ndarray):
            return frame
        raise frame or Refused(Reason.ENV_FAILED, f"the process of slot {slot} is gone")

    def _take_ready(self, member: Member, job: Job, reply: messages.OpenSessionReply) -> None:
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
            member.jobs.appendleft(self._jobs.advance(move, job.restart))

    def _take_rows(self, member: Member, job: Job, rows: messages.Rows) -> None:
        self._arrived.append((member, batch_of(rows)))
        for error in rows.errors:
            self._fail(self._mates(error.slot), error.reason, error.message)
        if job.restart is not None and not rows.errors:
            self._rebuilt += job.slots

    def _take_failed(self, job: Job, detail: messages.ErrorDetail) -> None:
        if job.kind == Kind.RENDER:
            self._frame = Refused(detail.reason, f"it cannot be drawn: {detail.message}")
        elif job.kind == Kind.ADVANCE and job.restart is None:
            self._refused = Refused(
                detail.reason, detail.message, field=detail.field, ends_session=True
            )
        else:
            self._failed_field = detail.field
            self._fail(job.slots, detail.reason, detail.message)

    def _fail(self, slots: Sequence[int], reason: str, message: str) -> None:
        self._failures.append(Failure(tuple(slots), reason, message))

    def _taken_failures(self) -> list[Failure]:
        failures = sorted(self._failures + self._crew.losses, key=lambda failure: failure.slots)
        self._failures.clear()
        self._crew.losses.clear()
        return failures
