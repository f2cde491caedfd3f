"""Checks 25 and 27: environments that fail, and calls that must answer whatever they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

from wmrun_envserver.conformance.check import Unmet, check, equal, require
from wmrun_envserver.conformance.peer import told
from wmrun_envserver.conformance.rows import Row, check_first, check_row, status_name
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

_FAULTS = {
    "raise": "ENV_FAILED",
    "nan_reward": "ENV_CONTRACT",
    "exit": "ENV_FAILED",
    "hang": "ENV_FAILED",
}
_NEED_PROCESS = ("exit", "hang")
_STEP_TIMEOUT_MS = 1000
_RESTART_LIMIT_S = 5.0
_MOST_FAILURES = 20
_LONG_MS = 2500
_PROMPT_S = 1.0


@check(25, "env-failures", needs='test env "fault"')
def env_failures(run: Run) -> None:
    """An env that raises, exits or hangs costs its own slot an episode; too often, the slot."""
    for fault, reason in _FAULTS.items():
        choice = run.fault(fault=fault, on_action=True, length=1000)
        session = run.open(
            choice,
            num_envs=2,
            step_timeout_ms=_STEP_TIMEOUT_MS,
            want_capabilities=["step_timeout"],
        )
        if fault in _NEED_PROCESS and "step_timeout" not in session.opened.capabilities:
            run.omit(
                f"an env with the fault {fault!r}", "the capability step_timeout is not granted"
            )
            session.close()
            continue
        _check_failure(session, fault, reason)
        if fault == "raise":
            _check_budget(session)
        session.close()


@check(27, "responsive", needs='test env "echo"')
def responsive(run: Run) -> None:
    """While a long step runs, Health, Heartbeat and GetServerInfo answer within a second."""
    session = run.open(run.echo(length=1000, step_ms=_LONG_MS), num_envs=1)
    session.reset()
    started = time.monotonic()
    running = run.peer.start("Step", session.stepping())
    other = run.connect()
    beat = messages.HeartbeatRequest(session_id=session.id)
    probes: dict[str, Callable[[], Any]] = {
        "Heartbeat": lambda: other.invoke("Heartbeat", beat, _PROMPT_S),
        "GetServerInfo": lambda: other.invoke(
            "GetServerInfo", messages.GetServerInfoRequest(), _PROMPT_S
        ),
        "Health/Check": lambda: other.health("", _PROMPT_S),
    }
    for name, probe in probes.items():
        _answers_before(started + _LONG_MS / 1000, name, probe)
    (row,) = session.accept("Step", run.peer.result("Step", running))
    equal("the long Step, step_in_episode", row.step, 1)


def _check_failure(session: Session, fault: str, reason: str) -> None:
    session.reset()
    _step(session, [0, 0])
    started = time.monotonic()
    reply = session.peer.call("Step", session.stepping([np.array([1, 0])]))
    took = time.monotonic() - started
    where = f"the Step in which slot 0 has the fault {fault!r}"
    rows = _by_slot(session, session.accept("Step", reply), where)
    equal(f"{where}, slot 0, status", status_name(rows[0].status), "SLOT_RESTARTED")
    check_first(rows[0], f"{where}, slot 0", episode=1)
    _check_sound(session, rows[1], where)
    equal(f"{where}, slot 1, counters", rows[1].counters, (0, 2))
    errors = {error.slot: error for error in reply.rows.errors}
    equal(f"{where}, slots in errors", sorted(errors), [0])
    equal(f"{where}, errors, reason", errors[0].reason, reason)
    require(bool(errors[0].message), f"{where}, errors, message", "what happened", "empty")
    limit = _STEP_TIMEOUT_MS / 1000 + _RESTART_LIMIT_S
    require(took <= limit, f"{where}, time", f"at most {limit:.0f} s", f"{took:.1f} s")
    for number in (1, 2):
        rows = _by_slot(session, _step(session, [0, 0]), where)
        counters = [rows[slot].counters for slot in (0, 1)]
        equal(f"Step {number} after the fault {fault!r}", counters, [(1, number), (0, 2 + number)])


def _check_budget(session: Session) -> None:
    """Let slot 0 fail again and again, where it has failed before."""
    statuses = []
    for number in range(_MOST_FAILURES):
        where = f"the Step in which slot 0 raises once more ({number + 1})"
        rows = _by_slot(session, _step(session, [1, 0]), where)
        _check_sound(session, rows[1], where)
        statuses.append(status_name(rows[0].status))
        if statuses[-1] == "SLOT_FAILED":
            break
        equal(f"{where}, status", statuses[-1], "SLOT_RESTARTED")
    require(
        statuses[-1] == "SLOT_FAILED",
        "a slot that raises in every step",
        "SLOT_RESTARTED some times, then SLOT_FAILED",
        statuses,
    )
    for _ in range(2):
        rows = _by_slot(session, _step(session, [0, 0]), "a Step with a slot that failed")
        status = status_name(rows[0].status)
        equal("a Step after SLOT_FAILED, slot 0, status", status, "SLOT_FAILED")
        _check_sound(session, rows[1], "a Step after SLOT_FAILED")


def _step(session: Session, action: list[int]) -> list[Row]:
    return session.step([np.array(action)])


def _by_slot(session: Session, rows: list[Row], where: str) -> dict[int, Row]:
    equal(f"{where}, slots", sorted(row.slot for row in rows), list(range(session.num_envs)))
    return {row.slot: row for row in rows}


def _check_sound(session: Session, row: Row, where: str) -> None:
    equal(f"{where}, slot {row.slot}, status", status_name(row.status), "SLOT_OK")
    check_row(row, session.observation, where)


def _answers_before(end: float, name: str, probe: Callable[[], Any]) -> None:
    """Ask again and again, for a busy machine may take its time, until the Step must be over."""
    got = "an answer after it"
    while time.monotonic() < end:
        try:
            probe()
        except grpc.RpcError as error:
            got = told(error)
        else:
            if time.monotonic() < end:
                return
    raise Unmet(f"{name} while a Step runs", f"an answer within {_PROMPT_S:.0f} s", got)
