"""What worker processes are asked to do, and what they answer with."""

from __future__ import annotations

from collections.abc import Sequence
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
    deadline: float | None = None
    """Once it was sent."""


class Jobs:
    """Makes the jobs of a session, with their time limits."""

    def __init__(self, slots_per_simulator: int, limits: TimeLimits) -> None:
        self._slots_per_simulator = slots_per_simulator
        self._limits = limits

    def build(self, slots: tuple[int, ...], restart: Restart) -> Job:
        """Build the simulator of `slots`."""
        seeds = [restart.seeds[slot] for slot in slots if slot in restart.seeds]
        request = messages.ResetRequest(slots=slots, seeds=seeds).SerializeToString()
        frames = [(Kind.BUILD, request)]
        return Job(Kind.BUILD, slots, self._limits.build_s, frames, restart)

    def advance(self, move: Move, restart: Restart | None = None) -> Job:
        """Step and reset slots; the time limits of the simulators concerned add up."""
        frames = [
            *_reset_frames(move),
            (Kind.ADVANCE, _step_request(move).SerializeToString()),
        ]
        limits = self._limits
        steps, resets = self._num_simulators(move.step), self._num_simulators(move.reset)
        limit_s = steps * limits.step_s + resets * limits.reset_s or limits.step_s
        return Job(Kind.ADVANCE, (*move.step, *move.reset), limit_s, frames, restart)

    def render(self, slot: int) -> Job:
        """Draw the frame of one slot."""
        request = messages.RenderRequest(slots=[slot]).SerializeToString()
        return Job(Kind.RENDER, (), self._limits.step_s, [(Kind.RENDER, request)])

    def discard(self, slots: Sequence[int]) -> Job:
        """Close the simulators of `slots`."""
        request = messages.ResetRequest(slots=slots).SerializeToString()
        return Job(Kind.DISCARD, (), self._limits.step_s, [(Kind.DISCARD, request)])

    def _num_simulators(self, slots: Sequence[int]) -> int:
        return len({slot // self._slots_per_simulator for slot in slots})


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


def _reset_frames(move: Move) -> list[tuple[Kind, bytes]]:
    """Return one frame for the resets with a seed, and one for those without."""
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
    return frames


def _step_request(move: Move) -> messages.StepRequest:
    return messages.StepRequest(
        slots=move.step, action=[tensors.encode(leaf) for leaf in move.action]
    )
