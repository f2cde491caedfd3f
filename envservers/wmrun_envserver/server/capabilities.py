"""The optional parts of the protocol that a session may have."""

from __future__ import annotations

from collections.abc import Iterable

PARTIAL_BATCH = "partial_batch"
RENDER = "render"
STREAM = "stream"
STEP_TIMEOUT = "step_timeout"
"""The server ends simulators that take too long: only where they live in worker processes."""


def offered(*, may_use_workers: bool) -> list[str]:
    """Return what GetServerInfo announces."""
    return [PARTIAL_BATCH, RENDER, STREAM, *([STEP_TIMEOUT] if may_use_workers else [])]


def granted(wanted: Iterable[str], *, can_render: bool, in_workers: bool) -> list[str]:
    """Return those of `wanted` that a session gets; what nobody here knows is ignored."""
    available = [PARTIAL_BATCH, STREAM]
    if can_render:
        available.append(RENDER)
    if in_workers:
        available.append(STEP_TIMEOUT)
    asked = set(wanted)
    return [name for name in available if name in asked]
