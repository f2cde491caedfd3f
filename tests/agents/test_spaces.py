"""Agents on observation and action spaces of every kind that they take."""

from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.wire import spaces

from tests.agents.small import VECTOR, random_batch, small_dreamer
from wmrun.envs.actions import ActionAdapter

MLP = {"layers": 1, "units": 8}
AUTO = {
    "type": "auto",
    "continuous": {"type": "truncated_normal", **MLP},
    "discrete": {"type": "categorical", **MLP},
}
OBSERVATIONS = {
    "Discrete": spaces.Discrete(16),
    "started": spaces.Discrete(3, start=-1, dtype=np.dtype("int32")),
    "MultiDiscrete": spaces.MultiDiscrete([[2, 3], [3, 1]], dtype="int8"),
    "MultiBinary": spaces.MultiBinary((2, 2)),
    "scalar": spaces.Box((), low=0, high=1),
    "matrix": spaces.Box((3, 4), "float64"),
    "grid": spaces.Box((5, 5, 2), "bool"),
    "board": spaces.Box((3, 3), "uint8", 0, 2),
}
ACTIONS = {
    "Discrete": spaces.Discrete(3, start=1),
    "MultiDiscrete": spaces.MultiDiscrete([[2, 3], [4, 4]], start=[[0, 1], [0, -2]]),
    "MultiBinary": spaces.MultiBinary((3,)),
    "Box": spaces.Box((2, 2), low=-1, high=1),
    "Dict of one": spaces.Dict((("torque", spaces.Box((), low=-1, high=1)),)),
}


@pytest.mark.parametrize("kind", [*OBSERVATIONS, "all together"])
def test_a_step_is_taken_on_observations_of_any_kind(kind: str) -> None:
    obs_space = OBSERVATIONS if kind == "all together" else {kind: OBSERVATIONS[kind]}
    agent, rng = small_dreamer(obs_space), np.random.default_rng(0)
    rows = {
        key: np.stack([spaces.sample(space, rng) for _ in range(10)])
        for key, space in obs_space.items()
    }
    batch = random_batch({}) | {key: row.reshape(2, 5, *row.shape[1:]) for key, row in rows.items()}
    losses = agent.update(batch).metrics
    assert all(np.isfinite(losses[f"loss/{key}"]) for key in obs_space)
    action, _ = agent.act(rows, np.ones(10, bool), agent.initial_carry(10), "train")
    assert action.shape == (10, 2)


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_of_any_kind_are_learnt_and_arrive_in_their_space(kind: str) -> None:
    act_space = ACTIONS[kind]
    agent, adapter = small_dreamer(act_space=act_space, actor=AUTO), ActionAdapter(act_space)
    (leaf,) = spaces.leaves(act_space)
    carry = agent.initial_carry(4)
    obs = {key: np.ones((4, *space.shape), np.float32) for key, space in VECTOR.items()}
    for mode in ("train", "eval"):
        action, carry = agent.act(obs, np.zeros(4, bool), carry, mode)
        assert action.shape == (4, adapter.size)
        (sent,) = adapter.to_env(action)
        spaces.check(leaf, sent)
    taken = adapter.random(np.random.default_rng(0), 10).reshape(2, 5, -1)
    before = [parameter.clone() for parameter in agent.actor.parameters()]
    agent.update(random_batch() | {"action": taken})
    moved = [(a != b).any() for a, b in zip(before, agent.actor.parameters(), strict=True)]
    assert all(moved)
