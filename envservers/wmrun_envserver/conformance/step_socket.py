"""Check 33: the socket for steps alone, where a server offers one."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from wmrun_envserver.conformance.check import Skip, Unmet, check, equal, require
from wmrun_envserver.conformance.peer import CALL_TIMEOUT_S, Deadline
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import Channel, ChannelClosed, Frame
from wmrun_envserver.wire.status import Reason
from wmrun_envserver.wire.step_socket import StepKind

_CAPABILITY = "step_socket"
_UNIX = "unix:"
_WHERE = "step socket"
_STEP = "Step over the step socket"
_STEPS = 16
_SLOW_MS = 1000
_LONGEST = 2**32 - 1


@check(33, "step-socket", needs='capability "step_socket", a Unix socket')
def step_socket(run: Run) -> None:
    """Steps over the socket give the bytes that Step gives; breaking it loses and repeats nothing.

    Needs the server on a Unix socket: the other one lies beside it.
    """
    if _CAPABILITY not in run.peer.info().capabilities:
        raise Skip("the server does not offer the capability step_socket")
    if not run.peer.target.address.startswith(_UNIX):
        raise Skip("the suite must reach the server by its Unix socket")
    for choice in run.subjects(length=5):
        _check_same_bytes(run, choice)
    _check_repetition(run)
    _check_refusals(run)
    _check_strangers(run)
    with run.part("a connection that breaks in the middle of a step"):
        _check_broken_connection(run)


class _Connection:
    """Sends frames and takes their answers; what is against the protocol raises `Unmet`."""

    def __init__(self, end: socket.socket, deadline: Deadline) -> None:
        self._channel = Channel(end, StepKind)
        self._deadline = deadline

    def send(self, request: messages.StepRequest | bytes) -> None:
        """Send a request, or bytes in the place of one."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            self._channel.send(StepKind.STEP, data, self._until())
        except (ChannelClosed, TimeoutError) as error:
            raise Unmet(_WHERE, "a request is taken", _told(error)) from None

    def reply(self, where: str, request: messages.StepRequest) -> messages.StepReply:
        """Return the answer to a request that must succeed."""
        self.send(request)
        frame = self._receive(where)
        content = _content(where, frame)
        if frame.kind is not StepKind.REPLY:
            raise Unmet(where, "a reply", f"{content.reason}: {content.message}")
        reply: messages.StepReply = content
        return reply

    def refused(self, where: str, request: messages.StepRequest | bytes, reason: str) -> None:
        """Send what must be refused for `reason`."""
        self.send(request)
        frame = self._receive(where)
        if frame.kind is not StepKind.REFUSED:
            raise Unmet(where, reason, f"a {frame.kind.name.lower()}")
        equal(f"{where}, ErrorDetail.reason", _content(where, frame).reason, reason)

    def expect_end(self, where: str) -> None:
        """Wait for the server to hang up."""
        try:
            frame = self._channel.wait(self._until())
        except ChannelClosed:
            return
        except TimeoutError as error:
            raise Unmet(where, "the end of the connection", _told(error)) from None
        raise Unmet(where, "the end of the connection", f"a {frame.kind.name.lower()}")

    def _receive(self, where: str) -> Frame[StepKind]:
        try:
            return self._channel.wait(self._until())
        except (ChannelClosed, TimeoutError) as error:
            raise Unmet(where, "an answer", _told(error)) from None

    def _until(self) -> float:
        return time.monotonic() + self._deadline.clip(CALL_TIMEOUT_S)


def _check_same_bytes(run: Run, choice: Choice) -> None:
    fast, plain = _open(run, choice), run.open(choice)
    per_reset = fast.opened.seed_scope == messages.SEED_PER_RESET
    seeds = list(range(70, 70 + fast.num_envs)) if per_reset else []
    for session in (fast, plain):
        session.reset(seeds=seeds)
    with _connected(run, fast) as steps:
        for number in range(_STEPS):
            reply = steps.reply(f"{choice.env_id}: {_WHERE}", fast.stepping())
            fast.accept(_STEP, reply)
            other = run.peer.call("Step", plain.stepping())
            plain.accept("Step", other)
            if fast.opened.deterministic and seeds:
                same = _bytes(reply) == _bytes(other)
                where = f"{choice.env_id}: {_WHERE}, rows of step {number + 1}"
                require(same, where, "the bytes that Step gives", "others")
        fast.step()
        fast.accept(_STEP, steps.reply(_WHERE, fast.stepping()))
    for session in (fast, plain):
        session.close()


def _check_repetition(run: Run) -> None:
    session = _open(run, run.subject)
    session.reset()
    with _connected(run, session) as steps:
        request = session.stepping()
        first = steps.reply(_WHERE, request)
        again = steps.reply(_WHERE, request)
    called = run.peer.call("Step", request)
    for where, reply in ((f"{_WHERE}, the same seq again", again), ("Step, its seq", called)):
        equal(f"{where}, replayed", reply.replayed, True)
        require(_bytes(reply) == _bytes(first), f"{where}, rows", "the same bytes", "others")
    session.close()


def _check_refusals(run: Run) -> None:
    session = _open(run, run.subject)
    other = run.open(run.subject)
    for opened in (session, other):
        opened.reset()
    with _connected(run, session) as steps:
        gap = session.stepping(seq=session.seq + 5)
        steps.refused(f"{_WHERE}, a seq that is no successor", gap, Reason.SEQ_GAP)
        unknown = session.stepping()
        unknown.session_id = "no-such-session"
        steps.refused(f"{_WHERE}, a foreign session_id", unknown, Reason.SESSION_UNKNOWN)
        steps.refused(f"{_WHERE}, bytes that are no message", b"\xff" * 16, Reason.BAD_REQUEST)
        ungranted = other.stepping()
        steps.refused(f"{_WHERE}, a session without it", ungranted, Reason.UNSUPPORTED)
        reply = steps.reply(f"{_WHERE} after refusals", session.stepping())
        session.accept(_STEP, reply)
    other.step()


def _check_strangers(run: Run) -> None:
    """What is no frame ends its connection and no other."""
    session = _open(run, run.subject)
    session.reset()
    too_long = min(session.opened.max_message_bytes or _LONGEST, _LONGEST - 1) + 1
    with _connected(run, session) as steps:
        session.accept(_STEP, steps.reply(_WHERE, session.stepping()))
        for what, header in (
            ("a kind that is none", struct.pack("<IB", 0, 0)),
            ("a length over the limit", struct.pack("<IB", too_long, StepKind.STEP)),
        ):
            with _socket(run, session) as end:
                end.sendall(header)
                _Connection(end, run.deadline).expect_end(f"{_WHERE}, {what}")
        reply = steps.reply(f"{_WHERE} after strangers came", session.stepping())
        session.accept(_STEP, reply)


def _check_broken_connection(run: Run) -> None:
    session = _open(run, run.echo(length=1000, step_ms=_SLOW_MS), num_envs=1)
    session.reset()
    request = session.stepping()
    with _connected(run, session) as steps:
        steps.send(request)
        while not session.heartbeat().busy:
            done = session.heartbeat().last_seq > session.seq
            require(not done, "HeartbeatReply.busy while a step over the socket runs", True, False)
    reply = run.peer.call("Step", request)
    equal("Step after the connection broke, replayed", reply.replayed, True)
    (row,) = session.accept("Step", reply)
    equal("steps of the env", (row.step, float(row.obs[0][0])), (1, 1.0))
    (row,) = session.step()
    equal("steps of the env after one more", (row.step, float(row.obs[0][0])), (2, 2.0))


def _open(run: Run, choice: Choice, **fields: Any) -> Session:
    session = run.open(choice, want_capabilities=[_CAPABILITY], **fields)
    granted = list(session.opened.capabilities)
    where = "OpenSessionReply.capabilities"
    require(_CAPABILITY in granted, where, "step_socket among them", granted)
    name = session.opened.step_socket
    is_name = name not in ("", ".", "..") and "/" not in name
    require(is_name, "OpenSessionReply.step_socket", "the name of a socket", repr(name))
    return session


@contextmanager
def _connected(run: Run, session: Session) -> Iterator[_Connection]:
    with _socket(run, session) as end:
        yield _Connection(end, run.deadline)


@contextmanager
def _socket(run: Run, session: Session) -> Iterator[socket.socket]:
    beside = Path(run.peer.target.address.removeprefix(_UNIX))
    path = beside.with_name(session.opened.step_socket)
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(run.deadline.clip(CALL_TIMEOUT_S))
        try:
            end.connect(str(path))
        except OSError as error:
            where = f"OpenSessionReply.step_socket {path.name!r}"
            raise Unmet(where, f"a socket beside {beside.name!r}", error.strerror) from None
        yield end


def _content(where: str, frame: Frame[StepKind]) -> Any:
    kind = messages.StepReply if frame.kind is StepKind.REPLY else messages.ErrorDetail
    try:
        return kind.FromString(frame.payload)
    except DecodeError as error:
        name = kind.DESCRIPTOR.name
        raise Unmet(where, f"a {name}", f"bytes that are none: {error}") from None


def _told(error: Exception) -> str:
    return "nothing in time" if isinstance(error, TimeoutError) else "the end of the connection"


def _bytes(reply: messages.StepReply) -> bytes:
    data: bytes = reply.rows.SerializeToString(deterministic=True)
    return data
