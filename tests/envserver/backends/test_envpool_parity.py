"""Tasks of EnvPool are those that Gymnasium, dm_control and ALE have under other names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.base import Batch, Env, VectorEnv
from wmrun_envserver.wire import spaces

pytest.importorskip("envpool")

from wmrun_envserver.backends.envpool import EnvPoolBackend

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting")

POOLS = EnvPoolBackend()
STANDARD_ERRORS = 5.0


def pool(env_id: str, config: dict[str, Any], num_slots: int = 1) -> VectorEnv:
    return POOLS.make_vector(env_id, config, num_slots, seeds=list(range(num_slots)))


def begin(env: VectorEnv, num_slots: int = 1) -> Batch:
    leaf = env.action_space
    nothing = np.zeros((0, *leaf.shape), leaf.dtype)  # type: ignore[union-attr]
    return env.advance([], [nothing], list(range(num_slots)))


def same_mean(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether samples along the first axis may have the same mean, element by element."""
    errors = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs))
    difference = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
    return bool((difference <= STANDARD_ERRORS * errors + 1e-6).all())


def angle(cosine: float, sine: float) -> float:
    return float(np.arctan2(sine, cosine))


IN_GYMNASIUM: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "CartPole-v1": lambda obs: obs,
    "MountainCar-v0": lambda obs: obs,
    "MountainCarContinuous-v0": lambda obs: obs,
    "Pendulum-v1": lambda obs: np.array([angle(obs[0], obs[1]), obs[2]]),
    "Acrobot-v1": lambda obs: np.array([angle(*obs[:2]), angle(*obs[2:4]), *obs[4:]]),
}
"""Env ids that both have, and the state behind an observation."""


@pytest.mark.parametrize("env_id", [*IN_GYMNASIUM, "FrozenLake-v1", "CliffWalking-v1"])
def test_spaces_and_time_limits_are_those_of_gymnasium(env_id: str) -> None:
    pytest.importorskip("gymnasium")
    from wmrun_envserver.backends.gym import GymBackend

    theirs, ours = GymBackend().make(env_id, {}), pool(env_id, {})
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    limits = [backend.prepare(env_id, {}).max_episode_steps for backend in (POOLS, GymBackend())]
    assert limits[0] == limits[1]


@pytest.mark.parametrize("env_id", list(IN_GYMNASIUM))
def test_from_one_state_a_step_is_that_of_gymnasium(env_id: str) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    simulator = gymnasium.make(env_id).unwrapped
    ours = pool(env_id, {"normalize_actions": False})
    rng = np.random.default_rng(0)
    batch = begin(ours)
    for _ in range(250):
        if batch.terminated[0] or batch.truncated[0]:
            batch = begin(ours)
        action = spaces.sample(ours.action_space, rng)
        simulator.reset()
        simulator.state = IN_GYMNASIUM[env_id](batch.obs[0][0].astype(np.float64))
        obs, reward, terminated, *_ = simulator.step(action)
        batch = ours.advance([0], [action[None]], [])
        np.testing.assert_allclose(batch.obs[0][0], obs, rtol=1e-4, atol=2e-5)
        assert batch.reward[0] == pytest.approx(reward, rel=1e-4, abs=1e-5)
        assert batch.terminated[0] == terminated


def test_random_episodes_of_cartpole_are_as_long_as_gymnasiums() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    simulator = gymnasium.make("CartPole-v1")
    rng = np.random.default_rng(0)
    theirs, starts = [], []
    for seed in range(200):
        starts.append(simulator.reset(seed=seed)[0])
        ended, steps = False, 0
        while not ended:
            _, _, terminated, truncated, _ = simulator.step(int(rng.integers(2)))
            ended, steps = terminated or truncated, steps + 1
        theirs.append(steps)
    ours_env = pool("CartPole-v1", {}, 50)
    lengths, ours, our_starts = np.zeros(50, int), list[int](), list[np.ndarray]()
    batch = begin(ours_env, 50)
    while len(ours) < 200:
        slots = batch.slots
        our_starts += list(batch.obs[0][batch.is_first])
        ours += lengths[slots[batch.terminated]].tolist()
        lengths[slots[batch.terminated]] = -1
        running, ended_slots = slots[~batch.terminated], slots[batch.terminated]
        batch = ours_env.advance(running, [rng.integers(2, size=len(running))], ended_slots)
        lengths[batch.slots] += 1
    assert same_mean(np.array(ours)[:, None], np.array(theirs)[:, None])
    assert same_mean(np.array(our_starts), np.array(starts))
    assert np.std(our_starts) == pytest.approx(np.std(starts), rel=0.1)


IN_DM_CONTROL = {
    "FingerSpin-v1": "finger-spin",
    "ManipulatorBringBall-v1": "manipulator-bring_ball",
    "WalkerWalk-v1": "walker-walk",
}


def compare_with_dm_control(env_id: str, task: str) -> None:
    from wmrun_envserver.backends.dmc import DmcBackend

    backend = DmcBackend()
    theirs, ours = backend.make(task, {}), pool(env_id, {})
    # EnvPool lists the target of FishSwim last.
    entries = [dict(env.observation_space.entries) for env in (ours, theirs)]  # type: ignore[union-attr]
    assert entries[0] == entries[1]
    assert unrolled(ours.action_space) == unrolled(theirs.action_space)
    begin(ours), theirs.close(), ours.close()


def unrolled(space: spaces.Space) -> spaces.Box:
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.shape, space.dtype, space.low, space.high)


@pytest.mark.parametrize(("env_id", "task"), IN_DM_CONTROL.items())
def test_spaces_are_those_of_dm_control(env_id: str, task: str) -> None:
    pytest.importorskip("dm_control")
    compare_with_dm_control(env_id, task)


@pytest.mark.slow
def test_spaces_of_all_tasks_are_those_of_dm_control() -> None:
    pytest.importorskip("dm_control")
    from wmrun_envserver.backends.dmc import DmcBackend

    by_name = {re.sub("[-_]", "", task).lower(): task for task in DmcBackend().family().env_ids}
    compared = 0
    for env_id in POOLS.family().env_ids:
        task = by_name.get(env_id.removesuffix("-v1").lower())
        if task is not None:
            compare_with_dm_control(env_id, task)
            compared += 1
    assert compared >= 50


def test_from_one_state_a_step_of_cartpole_is_that_of_dm_control() -> None:
    suite = pytest.importorskip("dm_control.suite")
    simulator = suite.load("cartpole", "balance")
    ours = pool("CartpoleBalance-v1", {})
    rng = np.random.default_rng(0)
    batch = begin(ours)
    simulator.reset()
    for _ in range(100):
        (x, cosine, sine), velocity = (leaf[0].astype(np.float64) for leaf in batch.obs)
        with simulator.physics.reset_context():
            simulator.physics.data.qpos[:] = x, angle(cosine, sine)
            simulator.physics.data.qvel[:] = velocity
        action = rng.uniform(-1, 1, (1, 1)).astype(np.float32)
        expected = simulator.step(action[0])
        batch = ours.advance([0], [action], [])
        for leaf, name in zip(batch.obs, ("position", "velocity"), strict=True):
            np.testing.assert_allclose(leaf[0], expected.observation[name], rtol=1e-4, atol=1e-5)
        assert batch.reward[0] == pytest.approx(expected.reward, abs=1e-5)


def test_walkers_walk_at_random_as_in_dm_control() -> None:
    pytest.importorskip("dm_control")
    from wmrun_envserver.backends.dmc import DmcBackend

    episodes, steps = 12, 40
    rng = np.random.default_rng(0)
    simulator = DmcBackend().make("walker-walk", {"action_repeat": 2})
    theirs = [played(simulator, seed, steps, rng) for seed in range(episodes)]
    env = pool("WalkerWalk-v1", {"action_repeat": 2}, episodes)
    begin(env, episodes)
    sums = 0.0
    for _ in range(steps):
        action = rng.uniform(-1, 1, (episodes, 6)).astype(np.float32)
        batch = env.advance(range(episodes), [action], [])
        sums = sums + np.column_stack([batch.reward, *batch.obs])
    assert same_mean(np.asarray(sums), np.array(theirs))


def played(env: Env, seed: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sums of reward and observations over random steps."""
    env.reset(seed)
    results = [env.step([rng.uniform(-1, 1, 6).astype(np.float32)]) for _ in range(steps)]
    return np.sum([np.concatenate([[r.reward], *r.obs]) for r in results], axis=0)


def test_dm_control_tasks_are_truncated_after_a_thousand_frames() -> None:
    config = {"action_repeat": 8}
    assert POOLS.prepare("CartpoleBalance-v1", config).max_episode_steps == 125
    env = pool("CartpoleBalance-v1", config)
    begin(env)
    batches = [env.advance([0], [np.zeros((1, 1), np.float32)], []) for _ in range(125)]
    assert [batch.truncated[0] for batch in batches] == [False] * 124 + [True]
    assert not any(batch.terminated[0] for batch in batches)


def test_atari_rows_are_those_of_the_atari_backend() -> None:
    pytest.importorskip("ale_py")
    from wmrun_envserver.backends.atari import AtariBackend

    shared = {"action_repeat": 4, "time_limit": 410, "image": {"size": [84, 84], "grayscale": True}}
    settings = {"stack_num": 1, "noop_max": 1, "use_fire_reset": False}
    ours = pool("Breakout-v5", {**shared, "kwargs": settings})
    theirs = AtariBackend().make(
        "breakout", {**shared, "repeat_action_probability": 0, "noop_max": 1, "resize": "area"}
    )
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    result, batch = theirs.reset(0), begin(ours)
    assert POOLS.prepare("Breakout-v5", shared).max_episode_steps == 103
    for index in np.random.default_rng(0).integers(4, size=103):
        # OpenCV's areas, which EnvPool has, round some means that end in a half the other way.
        assert np.abs(batch.obs[0][0].astype(int) - result.obs[0]).max() <= 1
        result = theirs.step([np.array(index)])
        batch = ours.advance([0], [np.array([index])], [])
        assert batch.reward[0] == result.reward
        assert (batch.terminated[0], batch.truncated[0]) == (result.terminated, result.truncated)
        assert batch.info["lives"][1] == [result.info["lives"]]
    assert result.truncated


def test_stacked_frames_are_the_last_axis_newest_last() -> None:
    config = {"action_repeat": 4, "image": {"size": [64, 48], "grayscale": True}}
    env = pool("Breakout-v5", config)
    assert env.observation_space == spaces.Dict(
        (("image", spaces.Box((64, 48, 4), "uint8", 0, 255, "IMAGE_HWC")),)
    )
    before = begin(env).obs[0]
    for _ in range(5):
        after = env.advance([0], [np.array([1])], []).obs[0]
        np.testing.assert_array_equal(after[..., :3], before[..., 1:])
        before = after
    colours = pool("Breakout-v5", {"image": {"size": [64, 48]}, "kwargs": {"stack_num": 1}})
    picture = begin(colours).obs[0][0]
    assert picture.shape == (64, 48, 3)
    assert (picture.max(axis=2) != picture.min(axis=2)).any()
