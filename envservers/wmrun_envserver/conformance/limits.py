"""Check 29: messages that are too large, and bytes that are no messages."""

from __future__ import annotations

import grpc
import numpy as np

from wmrun_envserver.conformance.check import Unmet, check, equal, require
from wmrun_envserver.conformance.peer import refusal
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import spaces, tensors
from wmrun_envserver.wire.service import METHODS, SERVICE
from wmrun_envserver.wire.status import MAX_DETAIL_BYTES

_MOST_TRIED = 256 * 2**20
# A tag of no wire type, and lengths beyond the end: no protobuf runtime takes them.
_GARBAGE = (b"\xff" * 64, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x7fabc" + b"\xff" * 4000)
_OPTIONAL = {"Render": "render"}


@check(29, "message-limits")
def message_limits(run: Run) -> None:
    """What is over the limit is RESOURCE_EXHAUSTED, garbage is refused; the session goes on."""
    session = run.open(run.subject)
    session.reset()
    limit = session.opened.max_message_bytes
    require(limit > 0, "OpenSessionReply.max_message_bytes", "over 0", limit)
    if limit <= _MOST_TRIED:
        _send_too_much(session, limit)
        with run.part("a reply over the limit"):
            _ask_too_much(run, limit)
    else:
        run.omit("messages over the limit", f"the limit is {limit} bytes")
    with run.part("a session whose replies cannot fit"):
        huge = run.opening(run.echo(obs_size=limit // 8 + 1), num_envs=2)
        about = "a session whose replies cannot fit"
        run.peer.refused("OpenSession", huge, "RESOURCE_EXHAUSTED", about=about)
    _send_garbage(run, session)
    rows = session.step()
    equal("slots of the Step after all that", sorted(row.slot for row in rows),
          list(range(session.num_envs)))  # fmt: skip


def _send_too_much(session: Session, limit: int) -> None:
    request = session.stepping()
    request.action[0].data = bytes(limit + 1)
    session.peer.refused("Step", request, "RESOURCE_EXHAUSTED", about="a request over the limit")
    session.step()


def _ask_too_much(run: Run, limit: int) -> None:
    """Send echo as much text as fits: the reply, which repeats it among other things, does not."""
    session = run.open(run.echo(every_space=True, length=1000), num_envs=1)
    session.reset()
    texts = [i for i, leaf in enumerate(session.action) if isinstance(leaf.space, spaces.Text)]
    require(bool(texts), "echo's action space with every_space", "a Text leaf", "none")
    request = session.stepping()
    empty = tensors.encode(np.array([""], object))
    request.action[texts[0]].CopyFrom(empty)
    room = limit - request.ByteSize() - 64
    request.action[texts[0]].data = room.to_bytes(4, "little") + b"x" * room
    session.peer.refused("Step", request, "RESOURCE_EXHAUSTED", about="a reply over the limit")
    session.seq = session.heartbeat().last_seq
    session.reset()
    session.step()


def _send_garbage(run: Run, session: Session) -> None:
    capabilities = set(run.peer.info().capabilities)
    for name, method in METHODS.items():
        codes = ["INTERNAL", "INVALID_ARGUMENT"]
        if name in _OPTIONAL and _OPTIONAL[name] not in capabilities:
            codes.append("UNIMPLEMENTED")
        for garbage in _GARBAGE:
            where = f"{name} with the bytes {garbage[:6].hex()}…"
            try:
                run.peer.raw(method.path, garbage)
            except grpc.RpcError as error:
                detail = refusal(where, error, codes)
                size = detail.ByteSize()
                within = size <= MAX_DETAIL_BYTES
                require(within, f"{where}, wmrun-error-bin", f"{MAX_DETAIL_BYTES} bytes", size)
            else:
                raise Unmet(where, " or ".join(codes), "OK")
    try:
        run.peer.raw(f"/{SERVICE}/NoSuchMethod", b"")
    except grpc.RpcError as error:
        refusal("a method that does not exist", error, "UNIMPLEMENTED")
    else:
        raise Unmet("a method that does not exist", "UNIMPLEMENTED", "OK")
    equal("HeartbeatReply.last_seq after garbage", session.heartbeat().last_seq, session.seq)
