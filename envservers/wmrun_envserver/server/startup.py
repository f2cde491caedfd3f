"""The life of a server process: its ready line, its parent, its signals, its end."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from wmrun_envserver.server.address import Address, parse_address, private_address
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.output import log_to_stderr
from wmrun_envserver.server.security import OPEN, Security
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.wire.service import PROTOCOL_MAJOR, PROTOCOL_MINOR

_LOG = logging.getLogger(__name__)

GRACE_S = 10.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class ServeOptions:
    """What `wmrun-envserver serve` was asked for."""

    backend: str
    sources: Mapping[str, str] = field(default_factory=dict)
    """What env ids stand for, beside those that the backend knows by itself."""
    allow: tuple[str, ...] = ()
    """Patterns of the env ids on offer; empty: all."""
    test_envs: bool = False
    """Whether to offer the ids "echo" and "fault", too."""
    workers: int | None = None
    """Processes over which slots are spread; 0: this one; None: as the env family needs."""
    listen: str | None = None
    """None: a Unix socket in a fresh private directory, removed at the end."""
    ready_fd: int | None = None
    """Where the ready line goes; None: standard output."""
    parent_fd: int | None = None
    """A descriptor that reaches its end when the parent is gone."""
    security: Security = OPEN
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"
    debug: bool = False


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM, SIGINT or the parent's end, and return the exit status.

    Standard output carries the ready line and nothing else: what simulators print goes to standard
    error, as the log does. Raises `AddressError`, `SecurityError`, `SourceError` or `BackendError`
    before anything was started.
    """
    ready_fd = _claim_stdout(options.ready_fd)
    log_to_stderr(options.log_level)
    faulthandler.enable()  # a simulator that crashes in native code leaves a stack in the log
    if options.parent_fd is not None:
        _watch_parent(options.parent_fd)
    address = parse_address(options.listen) if options.listen else None
    if address is not None:
        options.security.check(address)  # before the backend takes its time to load
    catalogue = Catalogue.load(
        options.backend,
        sources=options.sources,
        allow=options.allow,
        test_envs=options.test_envs,
    )
    if address is not None:
        return _status(_serve(options, catalogue, address, ready_fd))
    with tempfile.TemporaryDirectory(prefix="wmrun-", ignore_cleanup_errors=True) as private:
        has_stopped = _serve(options, catalogue, private_address(private), ready_fd)
    return _status(has_stopped)


def _serve(options: ServeOptions, catalogue: Catalogue, address: Address, ready_fd: int) -> bool:
    """Serve until told to stop; return False where an environment hangs on."""
    server = EnvServer(
        catalogue,
        address,
        options.limits,
        workers=options.workers,
        security=options.security,
        debug=options.debug,
    )
    # Until here SIGTERM ends the process at once: there is nothing to finish yet.
    signals = _catch_signals()
    server.start()
    _LOG.info("serving %s at %s, pid %d", options.backend, server.address, os.getpid())
    _announce(server, options.backend, ready_fd)
    _LOG.info("%s: draining", _await_signal(signals).name)
    return server.drain(GRACE_S)


def _status(has_stopped: bool) -> int:
    """Return the exit status, or end the process at once where threads keep it from ending."""
    if has_stopped:
        _LOG.info("stopped")
        return 0
    _LOG.error("an environment still hangs after %.0f s: exiting without it", GRACE_S)
    logging.shutdown()
    os._exit(1)


def _claim_stdout(ready_fd: int | None) -> int:
    """Return the descriptor for the ready line, and send what is printed from now on to stderr."""
    if ready_fd is None:
        ready_fd = os.dup(1)
    sys.stdout.flush()
    os.dup2(2, 1)
    # Nor may a simulator's child process keep the pipe open.
    os.set_inheritable(ready_fd, False)
    return ready_fd


def _watch_parent(fd: int) -> None:
    os.set_inheritable(fd, False)
    threading.Thread(target=_await_end, args=(fd,), name="parent-watcher", daemon=True).start()


def _await_end(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            continue
    except OSError as error:
        _LOG.error("parent fd %d: %s", fd, error.strerror)
    _LOG.info("the parent is gone")
    os.kill(os.getpid(), signal.SIGTERM)


def _catch_signals() -> int:
    """Return a descriptor from which the number of each signal caught can be read.

    Only the main thread runs Python's handlers, and a signal that the kernel gives to one of gRPC's
    threads does not wake it; a byte in a pipe does.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    return reader


def _await_signal(reader: int) -> signal.Signals:
    while (number := os.read(reader, 1)[0]) not in _STOP_SIGNALS:
        continue
    return signal.Signals(number)


def _announce(server: EnvServer, name: str, ready_fd: int) -> None:
    line = {
        "address": str(server.address),
        "pid": os.getpid(),
        "instance_id": server.instance_id,
        "protocol": f"{PROTOCOL_MAJOR}.{PROTOCOL_MINOR}",
        "backend": name,
    }
    try:
        os.write(ready_fd, json.dumps(line).encode() + b"\n")
    except OSError as error:
        _LOG.warning("the ready line could not be written: %s", error.strerror)
    os.close(ready_fd)
