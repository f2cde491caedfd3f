"""What one agent said in one message, and batches of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from wmrun_envserver.backends.base import Batch
from wmrun_envserver.backends.unity_behavior import BehaviorSpaces
from wmrun_envserver.wire import spaces

Info = Mapping[str, float | bool | str]


class AgentRow(NamedTuple):
    """A decision that an agent asks for, or (`terminated`, `truncated`) the end of its episode."""

    agent: int
    obs: Sequence[np.ndarray]
    reward: float
    terminated: bool = False
    truncated: bool = False
    is_first: bool = False
    info: Info = MappingProxyType({})


def decision_rows(steps: Any, behavior: BehaviorSpaces) -> Iterator[AgentRow]:
    """Yield the rows of a `mlagents_envs.base_env.DecisionSteps`."""
    return _rows(steps, behavior, steps.action_mask)


def terminal_rows(steps: Any, behavior: BehaviorSpaces) -> Iterator[AgentRow]:
    """Yield the rows of a `TerminalSteps`; one that was interrupted is truncated."""
    for row, interrupted in zip(_rows(steps, behavior, None), steps.interrupted, strict=True):
        yield row._replace(terminated=not interrupted, truncated=bool(interrupted))


def batch_of(
    slots: Sequence[int], rows: Sequence[AgentRow], space: spaces.Space, scene_info: Info
) -> Batch:
    """Return one row per slot; `scene_info`, which is of no agent, goes to the first of them."""
    info: dict[str, tuple[list[int], list[float | bool | str]]] = {}
    for i, row in enumerate(rows):
        for key, value in {**row.info, **(scene_info if i == 0 else {})}.items():
            indices, values = info.setdefault(key, ([], []))
            indices.append(i)
            values.append(value)
    obs = []
    for index, leaf in enumerate(spaces.leaves(space)):
        array = np.empty((len(rows), *leaf.space.shape), leaf.space.dtype)
        for i, row in enumerate(rows):
            array[i] = row.obs[index]
        obs.append(array)
    return Batch(
        slots=np.array(slots, np.int64),
        obs=obs,
        reward=np.array([row.reward for row in rows], np.float64),
        terminated=np.array([row.terminated for row in rows], np.bool_),
        truncated=np.array([row.truncated for row in rows], np.bool_),
        is_first=np.array([row.is_first for row in rows], np.bool_),
        info=info,
    )


def _rows(
    steps: Any, behavior: BehaviorSpaces, forbidden: Sequence[np.ndarray] | None
) -> Iterator[AgentRow]:
    if not len(steps):
        return
    obs = behavior.observe(steps.obs, forbidden)
    for i, agent in enumerate(steps.agent_id):
        in_group = steps.group_id[i] != 0
        yield AgentRow(
            int(agent),
            [leaf[i] for leaf in obs],
            float(steps.reward[i]),
            info={"group_reward": float(steps.group_reward[i])} if in_group else {},
        )
