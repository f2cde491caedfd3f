"""The echo env says back what it was told."""

from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, UnknownEnvError
from wmrun_envserver.backends.echo import EchoBackend
from wmrun_envserver.wire import spaces

BACKEND = EchoBackend()


def observed(env: Env, seed: int | None, steps: int = 3) -> list[list[float]]:
    rows = [env.reset(seed).obs[0].tolist()]
    action = [np.array([0.25, -0.5], np.float32)]
    return rows + [env.step(action).obs[0].tolist() for _ in range(steps)]


def test_the_vector_holds_step_action_and_seeded_numbers() -> None:
    rows = observed(BACKEND.make("echo", {"obs_size": 5}), seed=7)
    assert [row[:2] for row in rows] == [[0, 0], [1, 0.25], [2, 0.25], [3, 0.25]]
    drawn = np.random.default_rng(7).standard_normal(5)[:3].astype(np.float32).tolist()
    assert all(row[2:] == drawn for row in rows)
    assert observed(BACKEND.make("echo", {"obs_size": 1}), seed=7) == [[0], [1], [2], [3]]


def test_equal_seeds_give_equal_rows_and_other_seeds_others() -> None:
    one, two = BACKEND.make("echo", {}), BACKEND.make("echo", {})
    assert observed(one, 1) == observed(two, 1)
    assert observed(one, None) == observed(two, None)
    assert observed(one, 1) != observed(two, 2)
    assert observed(BACKEND.make("echo", {}), None) != observed(BACKEND.make("echo", {}), None)


@pytest.mark.parametrize("terminate", [True, False])
def test_the_episode_ends_at_its_length_with_the_end_asked_for(terminate: bool) -> None:
    env = BACKEND.make("echo", {"length": 2, "terminate": terminate, "actions": "discrete"})
    assert env.action_space == spaces.Discrete(3)
    env.reset(0)
    first, last = env.step([np.array(2)]), env.step([np.array(1)])
    assert (first.reward, first.terminated, first.truncated) == (1.0, False, False)
    assert (last.reward, last.terminated, last.truncated) == (2.0, terminate, not terminate)
    assert last.obs[0][1] == 1
    assert last.info == {"step": 2, "odd": False, "name": "step 2"}


def test_every_space_covers_every_kind_and_dtype_and_echoes_actions() -> None:
    env = BACKEND.make("echo", {"every_space": True, "normalize_actions": False})
    leaves = spaces.leaves(env.action_space)
    assert {type(leaf.space).__name__ for leaf in leaves} == {
        "Box", "Discrete", "MultiDiscrete", "MultiBinary", "Text",
    }  # fmt: skip
    rng = np.random.default_rng(0)
    env.reset(0)
    for step in (1, 2):
        action = spaces.flatten(env.action_space, spaces.sample(env.action_space, rng))
        obs = env.step(action).obs
        by_path = {
            leaf.path: array
            for leaf, array in zip(spaces.leaves(env.observation_space), obs, strict=True)
        }
        for leaf, sent in zip(leaves, action, strict=True):
            assert np.array_equal(by_path[f"action/{leaf.path}"], sent)
        for dtype in ("float16", "float64", "int8", "uint64"):
            ramp = by_path[f"ramp/{dtype}"]
            assert ramp.dtype == dtype
            assert ramp.tolist() == [[step, step + 1, step + 2], [step + 3, step + 4, step + 5]]
        assert by_path["ramp/bool"].ravel()[:2].tolist() == [step % 2 == 1, step % 2 == 0]
        assert by_path["ramp/scalar"] == step
        assert by_path["ramp/empty"].shape == (2, 0)
        assert by_path["ramp/text"].item() == f"step {step}"


def test_every_row_belongs_to_the_observation_space() -> None:
    env = BACKEND.make("echo", {"every_space": True, "image": {"size": [4, 4]}, "vector": True})
    rng = np.random.default_rng(0)
    results = [env.reset(3)]
    for _ in range(3):
        action = spaces.flatten(env.action_space, spaces.sample(env.action_space, rng))
        results.append(env.step(action))
    for result in results:
        for leaf, array in zip(spaces.leaves(env.observation_space), result.obs, strict=True):
            spaces.check(leaf, array[None])


def test_traits_follow_the_options() -> None:
    assert BACKEND.prepare("echo", {}).max_episode_steps == 0
    truncating = BACKEND.prepare("echo", {"length": 9, "terminate": False, "action_repeat": 2})
    assert truncating.max_episode_steps == 5
    assert (truncating.reward_low, truncating.reward_high) == (0, 18)


def test_other_env_ids_and_options_are_refused() -> None:
    with pytest.raises(UnknownEnvError, match=r"unknown env id 'ehco'\. Did you mean echo\?"):
        BACKEND.prepare("ehco", {})
    with pytest.raises(ConfigError, match=r"unknown option 'lenght'\. Did you mean length\?"):
        BACKEND.prepare("echo", {"lenght": 3})
