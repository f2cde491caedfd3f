"""What worker processes are asked to do, and what they answer with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import Batch
from wmrun_envserver.server.framing import Kind
from wmrun_envserver.server.hosts import Move, Restart
from wmrun_envserver.wire import messages, tensors


@dataclass(frozen=True)
class TimeLimits:
    """Seconds for one simulator; what takes longer is killed."""

    step_s: float
    reset_s: float
    build_s: float


@dataclass
class Job:
    """Frames that are sent together, and answered by one."""

    kind: Kind
    """Of the last frame."""
    slots: tuple[int, ...]
    limit_s: float
    frames: list[tuple[Kind, bytes]]
    restart: Restart | None = None
    """What the job is part of."""
    not_before: float = 0.0
    deadline: float | None = None
    """Once it was sent."""


def build_job(slots: tuple[int, ...], restart: Restart, due: float, limits: TimeLimits) -> Job:
    """Build the simulator of `slots`, not before `due`."""
    seeds = [restart.seeds[slot] for slot in slots if slot in restart.seeds]
    request = messages.ResetRequest(slots=slots, seeds=seeds).SerializeToString()
    frames = [(Kind.BUILD, request)]
    return Job(Kind.BUILD, slots, limits.build_s, frames, restart, not_before=due)


def advance_job(
    move: Move, slots_per_simulator: int, limits: TimeLimits, restart: Restart | None = None
) -> Job:
    """Step and reset slots; the time limits of the simulators concerned add up."""
    frames = []
    for seeded in (True, False):
        chosen = [
            (slot, seed)
            for slot, seed in zip(move.reset, move.seeds, strict=True)
            if (seed is not None) == seeded
        ]
        if chosen:
            request = messages.ResetRequest(
                slots=[slot for slot, _ in chosen],
                seeds=[seed for _, seed in chosen if seed is not None],
            )
            frames.append((Kind.RESETS, request.SerializeToString()))
    step = messages.StepRequest(
        slots=move.step, action=[tensors.encode(leaf) for leaf in move.action]
    )
    frames.append((Kind.ADVANCE, step.SerializeToString()))
    steps = len({slot // slots_per_simulator for slot in move.step})
    resets = len({slot // slots_per_simulator for slot in move.reset})
    limit = steps * limits.step_s + resets * limits.reset_s
    slots = (*move.step, *move.reset)
    return Job(Kind.ADVANCE, slots, limit or limits.step_s, frames, restart)


def render_job(slot: int, limits: TimeLimits) -> Job:
    """Draw the frame of one slot."""
    request = messages.RenderRequest(slots=[slot]).SerializeToString()
    return Job(Kind.RENDER, (), limits.step_s, [(Kind.RENDER, request)])


def discard_job(slots: list[int], limits: TimeLimits) -> Job:
    """Close the simulators of `slots`."""
    request = messages.ResetRequest(slots=slots).SerializeToString()
    return Job(Kind.DISCARD, (), limits.step_s, [(Kind.DISCARD, request)])


def batch_of(rows: messages.Rows) -> Batch:
    """Return the rows that a worker sent."""
    info: dict[str, Any] = {
        column.key: (list(column.rows), tensors.decode(column.values)) for column in rows.info
    }
    return Batch(
        slots=np.array(rows.slot, np.int64),
        obs=[tensors.decode(leaf) for leaf in rows.obs],
        reward=np.array(rows.reward, np.float64),
        terminated=np.array(rows.terminated, np.bool_),
        truncated=np.array(rows.truncated, np.bool_),
        is_first=np.array(rows.is_first, np.bool_),
        info=info,
    )
