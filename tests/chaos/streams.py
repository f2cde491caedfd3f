"""Reads back what a finished run stored, slot by slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmrun.replay.rows import row_spec
from wmrun.replay.storage import Replay
from wmrun.run.checkpoint import CheckpointStore


@dataclass(frozen=True)
class Stream:
    """All rows of one slot, `[T, ...]`, in the order in which they were stored."""

    vector: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray


def stored_streams(
    run: Path, *, capacity: int, num_envs: int, obs_size: int, action_size: int
) -> list[Stream]:
    """Return the stream of every slot at the run's last checkpoint."""
    state = CheckpointStore(run / "checkpoints").find("last").state()["replay"]
    spec = row_spec({"vector": ((obs_size,), "float32")}, action_size)
    with Replay(run / "replay", spec, capacity=capacity, num_envs=num_envs) as replay:
        replay.load(state)
        return [_stream(replay, slot) for slot in range(num_envs)]


def _stream(replay: Replay, slot: int) -> Stream:
    start, stop = int(replay.start[slot]), int(replay.stop[slot])
    rows = replay.read(np.array([slot]), np.array([start]), stop - start)
    return Stream(**{name: rows[name][0] for name in Stream.__dataclass_fields__})
