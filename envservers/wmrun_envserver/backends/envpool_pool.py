"""A pool of EnvPool whose envs are the slots of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import Batch, VectorEnv
from wmrun_envserver.backends.envpool_spaces import ActionLayout, ObservationLayout

# Not worth a column: the slot, the step, and what `terminated` says.
_NO_INFO = frozenset({"env_id", "players", "elapsed_step", "terminated"})


@dataclass
class _Rows:
    """One row of each slot of `slots`, in that order."""

    slots: np.ndarray
    obs: list[np.ndarray]
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    is_first: np.ndarray
    info: dict[str, np.ndarray]


class Pool(VectorEnv):
    """Steps all slots named by one call of EnvPool, `repeat` times over.

    A slot whose episode ended in EnvPool is reset by EnvPool's next step, together with the steps
    of the others; any other slot by a call of its own. `limit` counts calls, and truncates.
    """

    def __init__(
        self,
        pool: Any,
        observations: ObservationLayout,
        actions: ActionLayout,
        *,
        repeat: int,
        limit: int | None,
    ) -> None:
        self.observation_space = observations.space
        self.action_space = actions.space
        self._pool = pool
        self._observations = observations
        self._actions = actions
        self._repeat = repeat
        self._limit = limit
        self._frames = np.zeros(len(pool), np.int64)
        self._ended = np.zeros(len(pool), np.bool_)

    def advance(
        self,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> Batch:
        steps, resets = np.array(step, np.int32), np.array(reset, np.int32)
        ended = self._ended[resets]
        parts = []
        if steps.size or ended.any():
            parts.append(self._stepped(steps, self._actions.encode(action), resets[ended]))
        if not ended.all():
            parts.append(self._restarted(resets[~ended]))
        return _batch(parts)

    def render(self, slot: int) -> np.ndarray:
        frames: np.ndarray = self._pool.render(np.array([slot]))
        return frames[0]

    def close(self) -> None:
        self._pool.close()
        del self._pool  # Its threads end with it.

    def _stepped(self, steps: np.ndarray, action: np.ndarray, resets: np.ndarray) -> _Rows:
        slots = np.concatenate([steps, resets])
        sent = np.concatenate([action, self._actions.blank(len(resets))]) if resets.size else action
        first = np.arange(len(slots)) >= len(steps)
        rows = self._frame(slots, sent, first)
        for _ in range(self._repeat - 1):
            live = np.flatnonzero(~(first | rows.terminated | rows.truncated))
            if live.size:
                more = self._frame(slots[live], sent[live], first[live])
                _overwrite(rows, live, more)
        return rows

    def _frame(self, slots: np.ndarray, action: np.ndarray, first: np.ndarray) -> _Rows:
        # Every env of a pool whose batch is all of them is waited for, in the order of `slots`.
        self._pool.send(action, slots)
        obs, reward, terminated, truncated, info = self._pool.recv()
        terminated = terminated | (truncated & (info.get("terminated", 0) == 1))
        self._ended[slots] = terminated | truncated
        frames = self._frames[slots] + 1
        frames[first] = 0
        self._frames[slots] = frames
        if self._limit is not None:
            truncated = truncated | (frames >= self._limit)
        reward = reward.astype(np.float64)
        reward[first] = 0
        obs = self._observations.read(obs)
        return _Rows(slots, obs, reward, terminated, truncated, first, _columns(info))

    def _restarted(self, slots: np.ndarray) -> _Rows:
        obs, info = self._pool.reset(slots)
        self._ended[slots], self._frames[slots] = False, 0
        none = np.zeros(len(slots), np.bool_)
        obs = self._observations.read(obs)
        return _Rows(slots, obs, np.zeros(len(slots)), none, none, ~none, _columns(info))


def _columns(info: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        key: value
        for key, value in info.items()
        if key not in _NO_INFO and isinstance(value, np.ndarray) and value.ndim == 1
    }


def _overwrite(rows: _Rows, at: np.ndarray, more: _Rows) -> None:
    """Put the next frame of the rows `at` in their place, rewards added up."""
    rows.obs = [_with(old, at, new) for old, new in zip(rows.obs, more.obs, strict=True)]
    rows.info = {key: _with(old, at, more.info[key]) for key, old in rows.info.items()}
    rows.reward[at] += more.reward
    rows.terminated = _with(rows.terminated, at, more.terminated)
    rows.truncated = _with(rows.truncated, at, more.truncated)


def _with(old: np.ndarray, at: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return `old` with the rows `at` replaced; it may be EnvPool's memory, which is not ours."""
    merged = old.copy()
    merged[at] = new
    return merged


def _batch(parts: Sequence[_Rows]) -> Batch:
    slots, reward, terminated, truncated, is_first = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("slots", "reward", "terminated", "truncated", "is_first")
    )
    obs = [np.concatenate(leaves) for leaves in zip(*(part.obs for part in parts), strict=True)]
    rows = range(len(slots))
    info = {
        key: (rows, np.concatenate([part.info[key] for part in parts]).tolist())
        for key in parts[0].info
    }
    return Batch(slots.astype(np.int64), obs, reward, terminated, truncated, is_first, info)
