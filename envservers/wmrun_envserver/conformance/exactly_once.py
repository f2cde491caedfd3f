"""Checks 19 to 22: every mutating call happens exactly once, whatever the client saw of it."""

from __future__ import annotations

from typing import Any

import grpc

from wmrun_envserver.conformance.check import Unmet, check, equal, require
from wmrun_envserver.conformance.peer import code_of
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

_SLOW_MS = 1000
_IMPATIENT_S = 0.3


@check(19, "replay")
def replay(run: Run) -> None:
    """The same seq again returns the same bytes, `replayed` set, and steps nothing."""
    for choice in run.subjects(length=100):
        session = run.open(choice)
        requests: list[tuple[str, Any]] = [("Reset", session.resetting())]
        for number in range(4):
            name, request = requests[-1]
            first = run.peer.call(name, request)
            where = f"{choice.env_id}: {name} {number + 1}"
            equal(f"{where}, replayed", first.replayed, False)
            session.accept(name, first)
            for _ in range(2):
                again = run.peer.call(name, request)
                equal(f"{where}, sent again: replayed", again.replayed, True)
                same = _content(again) == _content(first)
                require(same, f"{where}, sent again", "the same bytes", "others")
            requests.append(("Step", session.stepping()))
        for row in session.step():
            where = f"{choice.env_id}: Step after three Steps that were sent again"
            require(row.is_first or row.step <= 4, where, "step at most 4", row.step)
            if choice.env_id == run.settings.echo_env_id:
                equal(f"{where}, the step in the observation", float(row.obs[0][0]), 4.0)


@check(20, "seq-gap")
def seq_gap(run: Run) -> None:
    """A seq that is neither the last nor the next is ABORTED with SEQ_GAP and changes nothing."""
    session = run.open(run.subject)
    for seq in (0, 2, 7):
        _refuse_gap(run, "Reset", session.resetting(seq=seq), seq)
    session.reset()
    session.step()
    session.step()
    for seq in (0, session.seq - 1, session.seq + 2, 2**64 - 1):
        _refuse_gap(run, "Step", session.stepping(seq=seq), seq)
    equal("HeartbeatReply.last_seq", session.heartbeat().last_seq, session.seq)
    session.step()


@check(21, "deadline", needs='test env "echo"')
def deadline(run: Run) -> None:
    """A call that outlives its client's deadline runs on; its seq again joins it: one step."""
    session = run.open(run.echo(length=1000, step_ms=_SLOW_MS), num_envs=1)
    session.reset()
    for number in (1, 2):
        request = session.stepping()
        try:
            run.peer.invoke("Step", request, _IMPATIENT_S)
        except grpc.RpcError as error:
            equal(f"Step with a deadline of {_IMPATIENT_S} s", code_of(error), "DEADLINE_EXCEEDED")
        else:
            raise Unmet(f"Step of {_SLOW_MS} ms", "DEADLINE_EXCEEDED", "OK")
        # The first time while it runs, the second time once it is done.
        while number == 2 and session.heartbeat().busy:
            continue
        reply = run.peer.call("Step", request)
        equal(f"Step {request.seq} sent again, replayed", reply.replayed, True)
        (row,) = session.accept("Step", reply)
        equal(
            "steps of the env after the retry", (row.step, float(row.obs[0][0])), (number, number)
        )


@check(22, "busy", needs='test env "echo"')
def busy(run: Run) -> None:
    """While a mutating call runs, another is ABORTED with BUSY and changes nothing."""
    session = run.open(run.echo(length=1000, step_ms=_SLOW_MS), num_envs=1)
    session.reset()
    running = run.peer.start("Step", session.stepping())
    _await_busy(session)
    for name, request in (
        ("Step", session.stepping(seq=session.seq + 2)),
        ("Reset", session.resetting(seq=session.seq + 2)),
    ):
        detail = run.peer.refused(name, request, "ABORTED", reason="BUSY", about="a Step runs")
        equal(f"{name} while a Step runs, ErrorDetail.retryable", detail.retryable, True)
    (row,) = session.accept("Step", run.peer.result("Step", running))
    equal("the Step that ran, step_in_episode", row.step, 1)
    (row,) = session.step()
    equal("the Step after it, step_in_episode", row.step, 2)


def _content(reply: messages.StepReply) -> bytes:
    copy = messages.StepReply()
    copy.CopyFrom(reply)
    copy.ClearField("replayed")
    copy.ClearField("lease_remaining_ms")
    data: bytes = copy.SerializeToString(deterministic=True)
    return data


def _refuse_gap(run: Run, name: str, request: Any, seq: int) -> None:
    run.peer.refused(name, request, "ABORTED", reason="SEQ_GAP", about=f"seq {seq}")


def _await_busy(session: Session) -> None:
    while not session.heartbeat().busy:
        if session.heartbeat().last_seq > session.seq:
            raise Unmet("HeartbeatReply.busy while a Step runs", True, False)
