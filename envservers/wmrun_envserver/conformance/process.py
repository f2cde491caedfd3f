"""Checks 26 and 28: a server that is killed, and one that is told to stop."""

from __future__ import annotations

import signal
import time

import grpc

from wmrun_envserver.conformance.check import Unmet, check, equal, require
from wmrun_envserver.conformance.launch import Launched, await_end
from wmrun_envserver.conformance.peer import Peer, code_of, told
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

_GRACE_S = 10.0
_STEP_MS = 1500
_LIMIT_S = 10.0
_ORPHAN_LIMIT_S = 5.0


@check(26, "kill-and-restart", needs="--launch")
def kill_and_restart(run: Run) -> None:
    """A killed server is UNAVAILABLE; once restarted it knows no old session; nothing is left."""
    server = run.launched()
    peer = run.connect(server.target)
    session = run.open(run.subject, peer)
    session.reset()
    session.step()
    children = server.descendants()
    server.signal(signal.SIGKILL)
    server.wait(_LIMIT_S)
    _expect_unavailable(session)
    orphans = await_end(children, _ORPHAN_LIMIT_S)
    require(not orphans, "processes of the server after SIGKILL", "none", sorted(orphans))
    server.start(run.deadline)
    _expect_unknown(session)
    again = run.open(run.subject, run.connect(server.target))
    again.reset()
    again.step()
    children = server.descendants()
    _stop(server)
    orphans = await_end(children, _ORPHAN_LIMIT_S)
    require(not orphans, "processes of the server after SIGTERM", "none", sorted(orphans))
    left = sorted(str(path.name) for path in server.files())
    require(not left, "files in TMPDIR and beside the socket after SIGTERM", "none", left)


@check(28, "drain", needs='--launch, test env "echo"')
def drain(run: Run) -> None:
    """SIGTERM: NOT_SERVING, no new sessions, the running Step completes, then the process ends."""
    server = run.launched()
    peer = run.connect(server.target)
    session = run.open(run.echo(length=1000, step_ms=_STEP_MS), peer, num_envs=1)
    session.reset()
    running = peer.start("Step", session.stepping())
    while not session.heartbeat().busy:
        require(not running.done(), "HeartbeatReply.busy while a Step runs", True, False)
    server.signal(signal.SIGTERM)
    told_at = time.monotonic()
    _await_not_serving(peer, running)
    opening = run.opening(run.light(), num_envs=1)
    peer.refused("OpenSession", opening, "UNAVAILABLE", about="while the server drains")
    equal("HeartbeatReply.draining", session.heartbeat().draining, True)
    (row,) = session.accept("Step", peer.result("Step, running at SIGTERM", running))
    equal("the Step that ran at SIGTERM, step_in_episode", row.step, 1)
    left_s = _GRACE_S + 1.0 - (time.monotonic() - told_at)
    status = server.wait(max(1.0, left_s))
    require(
        status is not None, "the server after SIGTERM", f"exits within {_GRACE_S:.0f} s", "runs"
    )


def _expect_unavailable(session: Session) -> None:
    for name, request in (
        ("Step", session.stepping()),
        ("Heartbeat", messages.HeartbeatRequest(session_id=session.id)),
    ):
        session.peer.refused(name, request, "UNAVAILABLE", about="after SIGKILL")


def _expect_unknown(session: Session) -> None:
    """The connection comes back by itself; until it does, calls are UNAVAILABLE."""
    request = messages.HeartbeatRequest(session_id=session.id)
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        try:
            session.peer.invoke("Heartbeat", request)
        except grpc.RpcError as error:
            if code_of(error) != "UNAVAILABLE":
                break
        else:
            break
        time.sleep(0.1)
    for name, call in (("Heartbeat", request), ("Step", session.stepping())):
        about = "a session from before the restart"
        session.peer.refused(name, call, "NOT_FOUND", reason="SESSION_UNKNOWN", about=about)


def _stop(server: Launched) -> None:
    server.signal(signal.SIGTERM)
    status = server.wait(_GRACE_S + 1.0)
    require(
        status is not None, "the server after SIGTERM", f"exits within {_GRACE_S:.0f} s", "runs"
    )


def _await_not_serving(peer: Peer, running: grpc.Future) -> None:
    got = "SERVING"
    while not running.done():
        try:
            got = peer.health("")
        except grpc.RpcError as error:
            raise Unmet("Health/Check after SIGTERM", "NOT_SERVING", told(error)) from None
        if got == "NOT_SERVING":
            return
    raise Unmet("Health/Check after SIGTERM, while a Step runs", "NOT_SERVING", got)
