"""What the machine offers to a run: processors, memory, disk, descriptors, sockets, ports."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from wmrun.diagnose.probe import Probe
from wmrun.replay.disk import format_bytes

_FEW_FILES = 1024
_LITTLE_DISK = 10 * 2**30
_LONGEST_SOCKET_PATH = 107
_SOCKET_NAME = "wmrun-12345678/s.sock"
EDITOR_PORT = 5004
LOCAL_SOCKETS = "local sockets"
"""The subject of the probe without which no env server can be started here."""


def machine(directory: Path) -> Iterator[Probe]:
    """Yield the probes that need no simulator; runs will write below `directory`."""
    yield _processors()
    yield _disk(directory)
    yield _open_files()
    yield _private_sockets()
    yield _loopback()
    yield _editor_port()


def _processors() -> Probe:
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory()
    return Probe(
        "machine",
        "ok",
        f"{cores} processors for this process, {format_bytes(memory.available)} of "
        f"{format_bytes(memory.total)} memory free",
    )


def _disk(directory: Path) -> Probe:
    if not os.access(directory, os.W_OK):
        return Probe("disk", "problem", f"{directory} cannot be written", "Run wmrun elsewhere.")
    free = psutil.disk_usage(str(directory)).free
    message = f"{format_bytes(free)} free under {directory}"
    if free < _LITTLE_DISK:
        advice = "Lower replay.capacity, or run on another disk: replay is kept there."
        return Probe("disk", "note", message, advice)
    return Probe("disk", "ok", message)


def _open_files() -> Probe:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    message = f"{soft:,} files may be open at once"
    if soft < min(hard, _FEW_FILES):
        return Probe("open files", "note", message, f"Raise it: ulimit -n {min(hard, 65536)}")
    if soft < _FEW_FILES:
        advice = "That is also the hard limit, which only root can raise: /etc/security/limits.conf"
        return Probe("open files", "note", message, advice)
    return Probe("open files", "ok", message)


def _private_sockets() -> Probe:
    """Local env servers listen in a directory of their own below the one for temporary files."""
    parent = tempfile.gettempdir()
    size = len(os.fsencode(os.path.join(parent, _SOCKET_NAME)))
    if size > _LONGEST_SOCKET_PATH:
        return Probe(
            LOCAL_SOCKETS,
            "problem",
            f"{parent} is too long a path for Unix sockets "
            f"({size} bytes with a socket's name, at most {_LONGEST_SOCKET_PATH})",
            "Set a shorter one: export TMPDIR=/tmp",
        )
    try:
        with tempfile.TemporaryDirectory(prefix="wmrun-") as private, _unix_socket() as server:
            server.bind(os.path.join(private, "s.sock"))
    except OSError as error:
        message = f"no Unix socket can be made in {parent}: {error.strerror}"
        return Probe(LOCAL_SOCKETS, "problem", message, "Set another: export TMPDIR=/tmp")
    return Probe(LOCAL_SOCKETS, "ok", f"Unix sockets work in {parent}")


def _loopback() -> Probe:
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
    except OSError as error:
        message = f"no port of 127.0.0.1 can be bound: {error.strerror}"
        return Probe("loopback", "problem", message, "Unity players and MLflow's pages need one.")
    return Probe("loopback", "ok", "ports of 127.0.0.1 can be bound")


def _editor_port() -> Probe:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", EDITOR_PORT))
        except OSError:
            return Probe(
                "Unity Editor",
                "note",
                f"port {EDITOR_PORT} is taken",
                "The Editor dials that port, so no other process may have it when "
                "env.task is editor. Players of a build get free ports.",
            )
    return Probe("Unity Editor", "ok", f"port {EDITOR_PORT}, which it dials, is free")


def _unix_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX)
