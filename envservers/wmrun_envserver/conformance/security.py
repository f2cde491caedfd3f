"""Check 30: who is let in, where a server listens, and what it gives away."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from wmrun_envserver.conformance.check import Skip, Unmet, check, equal, require
from wmrun_envserver.conformance.launch import free_port
from wmrun_envserver.conformance.peer import Peer, Target, code_of, told
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.status import detail_of

_PATH = re.compile(r"""(?:^|[\s"'(=:])((?:/[\w.+@~-]+){2,}|[A-Za-z]:\\[\w\\.]+)""")
_TRACE = re.compile(r"Traceback|\.py\", line \d+|^\s+at [\w.<>]+\(|stack backtrace", re.MULTILINE)
_REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
_WRONG_TOKENS = {"no token": None, "a wrong token": "0" * 64, "an empty token": ""}


@check(30, "security", needs="--token-file, --tls-ca and --tls-cert, --launch for all of it")
def security(run: Run) -> None:
    """Strangers are kept out, listening is private, errors give nothing away, no reflection."""
    for what, part in (
        ("tokens", _tokens),
        ("client certificates", _certificates),
        ("the socket's directory", _socket_directory),
        ("0.0.0.0 without TLS", _public_address),
        ("a socket in a public directory", _public_directory),
    ):
        with run.part(what):
            part(run)
    _error_texts(run)
    _reflection(run.peer)


def _tokens(run: Run) -> None:
    target = run.peer.target
    if target.token is None:
        raise Skip("needs --token-file")
    free = run.peer.info().limits.free_sessions
    session = run.open(run.light(), num_envs=1)
    for about, token in _WRONG_TOKENS.items():
        stranger = run.connect(replace(target, token=token))
        for name, request in _every_call(run, session):
            stranger.refused(name, request, "UNAUTHENTICATED", about=about)
    equal("HeartbeatReply.last_seq after strangers", session.heartbeat().last_seq, 0)
    session.reset()
    session.close()
    equal("Limits.free_sessions after strangers", run.peer.info().limits.free_sessions, free)


def _certificates(run: Run) -> None:
    target = run.peer.target
    if not target.is_tls:
        raise Skip("needs --tls-ca")
    plain = Target(target.address, token=target.token)
    _cannot_connect(run.connect(plain), "plaintext to a TLS port")
    if target.tls_cert is None:
        raise Skip("needs --tls-cert and --tls-key")
    nameless = replace(target, tls_cert=None, tls_key=None)
    _cannot_connect(run.connect(nameless), "TLS without a client certificate")


def _socket_directory(run: Run) -> None:
    path = _socket_path(run.peer.target.address)
    if path is None:
        raise Skip("the server does not listen on a Unix socket of this host")
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    require(not mode & 0o077, "mode of the socket's directory", "0700", f"{mode:04o}")


def _public_address(run: Run) -> None:
    launcher = run.launcher
    if run.peer.target.is_tls or launcher.is_port_only:
        raise Skip("the server listens with TLS, or chooses its own interface")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="wmrun-") as directory:
        process = launcher.spawn(f"0.0.0.0:{port}", Path(directory))
        try:
            serves = _serves(run, process, replace(run.peer.target, address=f"127.0.0.1:{port}"))
        finally:
            process.kill()
            process.wait()
    got = "serves" if serves else f"ends with status {process.returncode}"
    refuses = not serves and process.returncode != 0
    require(refuses, "a server told to listen on 0.0.0.0 without TLS", "refuses to start", got)


def _public_directory(run: Run) -> None:
    launcher = run.launcher
    if not launcher.is_unix:
        raise Skip("the server does not listen on a Unix socket")
    with tempfile.TemporaryDirectory(prefix="wmrun-") as directory:
        public = Path(directory)
        public.chmod(0o755)
        address = f"unix:{public}/s.sock"
        process = launcher.spawn(address, public)
        try:
            serves = _serves(run, process, replace(run.peer.target, address=address))
            is_open = bool(stat.S_IMODE(public.stat().st_mode) & 0o077)
        finally:
            process.kill()
            process.wait()
    where = "a server told to put its socket into a directory of mode 0755"
    require(not (serves and is_open), where, "refuses to start, or makes it 0700", "serves there")


def _serves(run: Run, process: subprocess.Popen[bytes], target: Target) -> bool:
    """Return whether the process answers before it ends."""
    peer = run.connect(target)
    while process.poll() is None:
        run.deadline.clip(1.0)
        try:
            peer.health("", 1.0)
        except grpc.RpcError:
            time.sleep(0.05)
        else:
            return True
    return False


def _error_texts(run: Run) -> None:
    """Provoke errors of every kind and read what they say."""
    peer, subject = run.peer, run.subject
    session = run.open(subject)
    requests = [
        ("OpenSession", run.opening(subject, env_id="no-such-env-1b7d")),
        ("OpenSession", run.opening(subject, env_config_json="{")),
        ("OpenSession", run.opening(subject, env_config_json='{"no_such_option_1b7d": 1}')),
        ("OpenSession", run.opening(subject, num_envs=0)),
        ("Step", session.stepping()),
        ("Heartbeat", messages.HeartbeatRequest(session_id="../../etc/passwd")),
    ]
    for name, request in requests:
        error = peer.start(name, request).exception()
        if error is None:
            raise Unmet(f"{name} that must be refused", "an error", "OK")
        detail = detail_of(error)
        for text in (error.details() or "", detail.message if detail else ""):
            _gives_nothing_away(f"the error of {name}", text)
    with run.part("the text of an env that raised"):
        faulty = run.open(run.fault(fault="raise", at=1), num_envs=1)
        faulty.reset()
        reply = peer.call("Step", faulty.stepping([np.zeros(1, np.int64)]))
        for slot_error in reply.rows.errors:
            _gives_nothing_away("SlotError.message", slot_error.message)


def _gives_nothing_away(where: str, text: str) -> None:
    for pattern, what in ((_TRACE, "a traceback"), (_PATH, "a path of the server")):
        found = pattern.search(text)
        require(found is None, where, f"no text with {what}", text)


def _reflection(peer: Peer) -> None:
    for version in ("v1", "v1alpha"):
        path = _REFLECTION.format(version)
        try:
            peer.raw(path, b"\x3a\x00")
        except grpc.RpcError as error:
            if code_of(error) in ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"):
                continue
            raise Unmet(f"reflection {version}", "UNIMPLEMENTED", told(error)) from None
        raise Unmet(f"reflection {version}", "UNIMPLEMENTED", "OK")


def _every_call(run: Run, session: Session) -> Iterator[tuple[str, Any]]:
    yield "GetServerInfo", messages.GetServerInfoRequest()
    yield "OpenSession", run.opening(run.light(), num_envs=1)
    yield "Reset", session.resetting()
    yield "Step", session.stepping()
    yield "Heartbeat", messages.HeartbeatRequest(session_id=session.id)
    yield "CloseSession", messages.CloseSessionRequest(session_id=session.id)


def _cannot_connect(peer: Peer, about: str) -> None:
    request = messages.GetServerInfoRequest()
    error = peer.start("GetServerInfo", request, 5.0).exception()
    got = "OK" if error is None else told(error)
    codes = ("UNAVAILABLE", "UNAUTHENTICATED", "DEADLINE_EXCEEDED")
    refused = error is not None and code_of(error) in codes
    require(refused, about, "no connection", got)


def _socket_path(address: str) -> Path | None:
    if not address.startswith("unix:"):
        return None
    path = Path(re.sub("^unix:(//)?", "", address))
    return path if os.path.lexists(path) else None
