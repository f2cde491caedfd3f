"""Checks 23 and 24: sessions that do not touch each other, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from wmrun_envserver.conformance.check import check, equal, require
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

_LEASE_MS = 1000
_FOREIGN_IDS = ("", "no-such-session", "0" * 32)


@check(23, "isolation")
def isolation(run: Run) -> None:
    """Sessions do not affect each other; an id that is foreign or closed is NOT_FOUND."""
    subject = run.subject
    one, two = run.open(subject), run.open(subject)
    _same_counters(one, two, "Reset", lambda session: session.reset())
    for number in range(10):
        # The first is stepped twice as often: what it counts must not show in the second.
        one.step()
        rows = two.step() if number % 2 else one.step()
        require(bool(rows), "rows", "some", "none")
    equal("HeartbeatReply.last_seq of the second session", two.heartbeat().last_seq, 6)
    equal("HeartbeatReply.last_seq of the first session", one.heartbeat().last_seq, 16)
    for session_id in _FOREIGN_IDS:
        _refuse_everything(run, two, session_id, "a foreign session_id")
    one.close()
    one.close()
    _refuse_everything(run, one, one.id, "a closed session", but="CloseSession")
    two.step()


@check(24, "leases")
def leases(run: Run) -> None:
    """A silent session ends with its lease, heartbeats keep it, `supersede` ends it at once."""
    light = run.light()
    free = run.peer.info().limits.free_sessions
    lease_ms = max(_LEASE_MS, run.peer.info().limits.min_lease_ms)
    silent = run.open(light, num_envs=1, lease_ms=lease_ms)
    kept = run.open(light, num_envs=1, lease_ms=lease_ms)
    kept.reset()
    granted = silent.opened.lease_ms
    require(granted >= lease_ms, "OpenSessionReply.lease_ms", f"at least {lease_ms}", granted)
    _keep(kept, 3.2 * granted / 1000)
    _await_free(run, free - 1)
    for name, request in _calls(silent, silent.id):
        if name != "CloseSession":
            run.peer.refused(
                name, request, "NOT_FOUND", reason="LEASE_EXPIRED", about="after the lease"
            )
    (row,) = kept.step()
    equal("Step of the session kept by heartbeats, step_in_episode", row.step, 1)
    kept.close()
    _check_supersede(run, free)


def _same_counters(
    one: Session, two: Session, where: str, act: Callable[[Session], list[Any]]
) -> None:
    first, second = ([row.counters for row in act(session)] for session in (one, two))
    equal(f"{where} in two sessions, counters", first, second)


def _refuse_everything(
    run: Run, session: Session, session_id: str, about: str, but: str = ""
) -> None:
    for name, request in _calls(session, session_id):
        if name != but:
            run.peer.refused(name, request, "NOT_FOUND", reason="SESSION_UNKNOWN", about=about)


def _calls(session: Session, session_id: str) -> list[tuple[str, Any]]:
    reset, step = session.resetting(), session.stepping()
    reset.session_id = step.session_id = session_id
    return [
        ("Reset", reset),
        ("Step", step),
        ("Heartbeat", messages.HeartbeatRequest(session_id=session_id)),
        ("CloseSession", messages.CloseSessionRequest(session_id=session_id)),
    ]


def _keep(session: Session, seconds: float) -> None:
    """Send heartbeats, four per lease, for `seconds`."""
    lease_ms = session.opened.lease_ms
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        remaining = session.heartbeat().lease_remaining_ms
        require(
            0 < remaining <= lease_ms, "HeartbeatReply.lease_remaining_ms",
            f"from 1 to {lease_ms}", remaining,
        )  # fmt: skip
        time.sleep(lease_ms / 4000)


def _await_free(run: Run, expected: int) -> None:
    """Wait until a lease that ran out shows in the room that is free."""
    until = time.monotonic() + 10.0
    while (free := run.peer.info().limits.free_sessions) < expected:
        about = "Limits.free_sessions 10 s after a lease ran out"
        require(time.monotonic() < until, about, expected, free)
        time.sleep(0.1)


def _check_supersede(run: Run, free: int) -> None:
    light = run.light()
    fields: dict[str, Any] = {"num_envs": 1, "client_id": "conformance-1b7d"}
    old = run.open(light, **fields)
    beside = run.open(light, num_envs=1, client_id="conformance-another")
    new = run.open(light, supersede=True, **fields)
    request = messages.HeartbeatRequest(session_id=old.id)
    run.peer.refused(
        "Heartbeat", request, "NOT_FOUND", reason="SUPERSEDED", about="a superseded session"
    )
    equal("Limits.free_sessions after supersede", run.peer.info().limits.free_sessions, free - 2)
    beside.reset()
    new.reset()
    nameless = run.opening(light, num_envs=1, supersede=True)
    run.peer.refused(
        "OpenSession", nameless, "INVALID_ARGUMENT", about="supersede without a client_id"
    )
