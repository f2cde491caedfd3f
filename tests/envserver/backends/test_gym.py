"""Gymnasium envs behave as Gymnasium says, through the backend."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, UnknownEnvError
from wmrun_envserver.wire import spaces

gymnasium = pytest.importorskip("gymnasium")

from wmrun_envserver.backends.gym import GymBackend  # noqa: E402
from wmrun_envserver.backends.gym_spaces import from_gymnasium  # noqa: E402

BACKEND = GymBackend()
RIGHT = [np.array(1)]


@pytest.fixture(autouse=True)
def mujoco_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what the first frame sets."""
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))


def made(env_id: str, config: dict) -> Env:
    BACKEND.prepare(env_id, config)
    return BACKEND.make(env_id, config)


def steps_until_end(env: Env, seed: int) -> tuple[int, bool, bool]:
    env.reset(seed)
    for step in range(1, 1000):
        result = env.step(RIGHT)
        if result.terminated or result.truncated:
            return step, result.terminated, result.truncated
    raise AssertionError("the episode did not end")


def test_cartpole_rows_are_those_of_gymnasium() -> None:
    env = BACKEND.make("CartPole-v1", {})
    reference = gymnasium.make("CartPole-v1")
    assert [leaf.path for leaf in spaces.leaves(env.observation_space)] == ["vector"]
    assert env.action_space == spaces.Discrete(2)
    assert env.reset(3).obs[0].tolist() == reference.reset(seed=3)[0].tolist()
    for _ in range(5):
        result = env.step(RIGHT)
        obs, reward, terminated, truncated, _ = reference.step(1)
        assert result.obs[0].dtype == np.float32
        assert result.obs[0].tolist() == obs.tolist()
        assert (result.reward, result.terminated, result.truncated) == (
            reward,
            terminated,
            truncated,
        )


def test_a_fallen_pole_terminates_and_a_time_limit_truncates() -> None:
    # Pushed right all the time, the pole passes 12 degrees within about ten steps.
    steps, terminated, truncated = steps_until_end(BACKEND.make("CartPole-v1", {}), seed=0)
    assert 8 <= steps <= 11
    assert (terminated, truncated) == (True, False)
    limited = BACKEND.make("CartPole-v1", {"time_limit": 5})
    assert steps_until_end(limited, seed=0) == (5, False, True)


def test_gymnasiums_own_time_limit_truncates_where_promised() -> None:
    config = {"action_repeat": 3}
    assert BACKEND.prepare("Pendulum-v1", config).max_episode_steps == 67  # ⌈200 / 3⌉
    env = BACKEND.make("Pendulum-v1", config)
    env.reset(0)
    results = [env.step([np.zeros(1, np.float32)]) for _ in range(67)]
    assert [r.truncated for r in results] == [False] * 66 + [True]
    assert not any(r.terminated for r in results)
    assert BACKEND.prepare("CartPole-v1", {"time_limit": 30}).max_episode_steps == 30


def test_half_the_normalised_action_is_half_the_torque_of_pendulum() -> None:
    env = BACKEND.make("Pendulum-v1", {})
    assert env.action_space == spaces.Box((1,), "float32", -1, 1, "VECTOR")
    reference = gymnasium.make("Pendulum-v1")
    reference.reset(seed=5)
    env.reset(5)
    result = env.step([np.array([0.5], np.float32)])
    obs, reward, *_ = reference.step(np.array([1.0], np.float32))  # torque is in [-2, 2]
    np.testing.assert_array_equal(result.obs[0], obs)
    assert result.reward == pytest.approx(reward, rel=1e-12)


def test_seeds_repeat_an_episode_and_no_seed_goes_on() -> None:
    env = BACKEND.make("CartPole-v1", {})
    first = env.reset(2**63 + 1).obs[0].tolist()
    assert env.reset(None).obs[0].tolist() != first
    assert env.reset(2**63 + 1).obs[0].tolist() == first


def test_rendered_frames_come_resized_with_the_vector_when_kept() -> None:
    pytest.importorskip("pygame")
    config = {"image": {"size": [40, 60]}, "vector": True, "action_repeat": 2}
    env = BACKEND.make("CartPole-v1", config)
    leaves = spaces.leaves(env.observation_space)
    assert [(leaf.path, leaf.space.shape) for leaf in leaves] == [
        ("vector", (4,)),
        ("image", (40, 60, 3)),
    ]
    before = env.reset(0).obs[1]
    after = env.step(RIGHT).obs[1]
    assert before.std() > 1
    assert not np.array_equal(before, after)
    env.close()


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        (
            "CartPole-v9",
            "no env 'CartPole-v9' registered. Did you mean CartPole-v1",
        ),
        (
            "cart_pole-v1",
            "no env 'cart_pole-v1' registered. Did you mean CartPole-v1",
        ),
        ("os:Env-v0", "no env 'os:Env-v0' registered."),
        ("CartPole", "no env 'CartPole' registered. Did you mean CartPole-v1"),
    ],
)
def test_ids_that_are_not_registered_are_refused(env_id: str, message: str) -> None:
    with pytest.raises(UnknownEnvError) as caught:
        BACKEND.prepare(env_id, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"kwargs": {"gravitee": 1}}, "kwargs", "CartPole-v1 refuses kwargs: .*'gravitee'"),
        ({"kwargs": {"render_mode": "human"}}, "kwargs.render_mode", "is set by the server"),
        ({"image": {"camera": 1}}, "image.camera", "gym envs have one view"),
        ({"kwrags": {}}, "kwrags", r"unknown option 'kwrags'\. Did you mean kwargs\?"),
    ],
)
def test_wrong_options_are_refused(config: dict, field: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        made("CartPole-v1", config)
    assert caught.value.field == field


def test_frames_for_people_come_at_the_envs_own_size_whatever_is_observed() -> None:
    pytest.importorskip("pygame")
    assert BACKEND.prepare("CartPole-v1", {}).render_modes == ("rgb_array",)
    config = {"image": {"size": [40, 60]}, "action_repeat": 2, "time_limit": 9}
    for options in ({}, config):
        env = BACKEND.make("CartPole-v1", options, render=True)
        first = env.reset(0)
        frame = env.render()
        assert (frame.shape, frame.dtype) == ((400, 600, 3), np.uint8)
        assert frame.tolist() == env.render().tolist()
        replay = BACKEND.make("CartPole-v1", options)
        replay.reset(0)
        expected, result = replay.step(RIGHT), env.step(RIGHT)
        assert [leaf.tolist() for leaf in result.obs] == [leaf.tolist() for leaf in expected.obs]
        assert len(first.obs) == 1
        env.close()
        replay.close()


@pytest.mark.parametrize(
    ("display", "preset", "expected"),
    [("", "", ("egl", "osmesa")), ("", "osmesa", ("osmesa",)), (":0", "", ("",))],
)
def test_mujoco_is_told_to_draw_offscreen_where_there_is_no_display(
    monkeypatch: pytest.MonkeyPatch, display: str, preset: str, expected: tuple[str, ...]
) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("MUJOCO_GL", preset)
    BACKEND.make("CartPole-v1", {}).close()
    assert os.environ["MUJOCO_GL"] == preset
    BACKEND.make("CartPole-v1", {}, render=True).close()
    assert os.environ["MUJOCO_GL"] in expected


def test_kwargs_reach_the_env() -> None:
    env = BACKEND.make("FrozenLake-v1", {"kwargs": {"map_name": "8x8", "is_slippery": False}})
    assert env.observation_space == spaces.Dict((("obs", spaces.Discrete(64)),))
    env.reset(0)
    result = env.step([np.array(2)])  # right, from the corner
    assert result.obs[0] == 1
    assert result.info == {"prob": 1.0}


GYM = gymnasium.spaces
EVERY_SPACE = GYM.Dict(
    {
        "camera": GYM.Box(0, 255, (8, 8, 3), np.uint8),
        "choice": GYM.Discrete(3, start=-1),
        "pair": GYM.Tuple((GYM.Discrete(2), GYM.Text(4, min_length=1, charset="ab"))),
    }
)


class Camera(gymnasium.Env):
    """Observes and takes every space; its picture is as bright as the choice that it took."""

    observation_space = EVERY_SPACE
    action_space = EVERY_SPACE

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: dict) -> tuple:
        assert self.action_space.contains(action)
        obs = self.observation_space.sample()
        obs["camera"] = np.full((8, 8, 3), 50 * (int(action["choice"]) + 1), np.uint8)
        return obs, 1, False, False, {"lives": np.int64(3), "history": [1, 2], 7: "seven"}


class Picture(Camera):
    """Observes nothing but an image."""

    observation_space = GYM.Box(0, 255, (8, 8, 3), np.uint8)

    def step(self, action: dict) -> tuple:
        obs, *rest = Camera().step(action)
        return obs["camera"], *rest


@pytest.fixture
def registered() -> Iterator[None]:
    gymnasium.register("wmrun-test/Camera-v0", Camera)
    gymnasium.register("wmrun-test/Picture-v0", Picture)
    yield
    del gymnasium.registry["wmrun-test/Camera-v0"], gymnasium.registry["wmrun-test/Picture-v0"]


@pytest.mark.usefixtures("registered")
def test_nested_spaces_pass_through_and_only_plain_infos_are_kept() -> None:
    env = BACKEND.make("wmrun-test/Camera-v0", {"normalize_actions": False})
    assert env.observation_space == env.action_space == from_gymnasium(EVERY_SPACE)
    env.reset(0)
    action = spaces.sample(env.action_space, np.random.default_rng(0))
    result = env.step(spaces.flatten(env.action_space, action))
    brightness = 50 * (int(action["choice"]) + 1)
    assert result.obs[0].tolist() == np.full((8, 8, 3), brightness).tolist()
    assert result.info == {"lives": 3}


@pytest.mark.usefixtures("registered")
def test_an_env_that_observes_images_has_them_resized_not_rendered() -> None:
    plain = BACKEND.make("wmrun-test/Picture-v0", {})
    assert plain.observation_space == spaces.Dict(
        (("image", spaces.Box((8, 8, 3), "uint8", 0, 255, "IMAGE_HWC")),)
    )
    env = BACKEND.make("wmrun-test/Picture-v0", {"image": {"size": [2, 4], "grayscale": True}})
    env.reset(0)
    action = spaces.sample(env.action_space, np.random.default_rng(0))
    action["choice"] = np.array(1)
    result = env.step(spaces.flatten(env.action_space, action))
    assert result.obs[0].tolist() == np.full((2, 4, 1), 100).tolist()


@pytest.mark.usefixtures("registered")
def test_frames_of_an_env_that_cannot_render_are_refused() -> None:
    with pytest.raises(ConfigError, match="wmrun-test/Camera-v0 renders no frames") as caught:
        BACKEND.make("wmrun-test/Camera-v0", {"image": {}})
    assert caught.value.field == "image"


@pytest.mark.usefixtures("registered")
def test_an_env_that_cannot_render_names_no_render_mode() -> None:
    assert BACKEND.prepare("wmrun-test/Camera-v0", {}).render_modes == ()


def test_listing_the_registry_imports_no_env() -> None:
    gymnasium.register("wmrun-test/Absent-v0", "a_package_that_is_missing:Env")
    try:
        for env_id in BACKEND.family().env_ids:
            BACKEND.prepare(env_id, {})
        with pytest.raises(ConfigError, match="No module named 'a_package_that_is_missing'"):
            BACKEND.make("wmrun-test/Absent-v0", {"image": {}})
    finally:
        del gymnasium.registry["wmrun-test/Absent-v0"]
