"""The optional parts of the protocol that a session may have."""

from __future__ import annotations

from collections.abc import Iterable

from wmrun_envserver.server import shared_memory

PARTIAL_BATCH = "partial_batch"
RENDER = "render"
STREAM = "stream"
SHM = "shm"
STEP_SOCKET = "step_socket"
STEP_TIMEOUT = "step_timeout"
"""The server ends simulators that take too long: only where they live in worker processes."""


def offered(*, may_use_workers: bool, has_step_socket: bool) -> list[str]:
    """Return what GetServerInfo announces."""
    names = [PARTIAL_BATCH, RENDER, STREAM]
    if may_use_workers:
        names.append(STEP_TIMEOUT)
    if shared_memory.is_available():
        names.append(SHM)
    if has_step_socket:
        names.append(STEP_SOCKET)
    return names


def granted(
    wanted: Iterable[str], *, can_render: bool, in_workers: bool, has_step_socket: bool
) -> list[str]:
    """Return those of `wanted` that a session gets; what nobody here knows is ignored."""
    available = [PARTIAL_BATCH, STREAM]
    if can_render:
        available.append(RENDER)
    if in_workers:
        available.append(STEP_TIMEOUT)
    if has_step_socket:
        available.append(STEP_SOCKET)
    asked = set(wanted)
    return [name for name in available if name in asked]
