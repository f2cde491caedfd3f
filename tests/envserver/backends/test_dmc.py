"""dm_control tasks behave as dm_control says, through the backend."""

from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, UnknownEnvError
from wmrun_envserver.wire import spaces

pytest.importorskip("dm_control")

from wmrun_envserver.backends.dmc import DmcBackend

ACTION = [np.full(6, 0.5, np.float32)]


@pytest.fixture(scope="module")
def backend() -> DmcBackend:
    return DmcBackend()


def prepared(backend: DmcBackend, env_id: str, config: dict) -> Env:
    backend.prepare(env_id, config)
    return backend.make(env_id, config)


def test_walker_has_one_float32_vector_per_observation(backend: DmcBackend) -> None:
    env = backend.make("walker-walk", {})
    assert env.observation_space == spaces.Dict(
        (
            ("orientations", spaces.Box((14,), "float32", role="VECTOR")),
            ("height", spaces.Box((1,), "float32", role="VECTOR")),
            ("velocity", spaces.Box((9,), "float32", role="VECTOR")),
        )
    )
    assert env.action_space == spaces.Box((6,), "float32", -1, 1)
    for result in (env.reset(0), env.step(ACTION)):
        for leaf, array in zip(spaces.leaves(env.observation_space), result.obs, strict=True):
            spaces.check(leaf, array[None])


def test_rows_are_those_of_dm_control_with_rewards_summed(backend: DmcBackend) -> None:
    from dm_control import suite

    env = backend.make("walker-walk", {"action_repeat": 2})
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(11)))
    reference = suite.load("walker", "walk", task_kwargs={"random": random})
    first, expected = env.reset(11), reference.reset()
    np.testing.assert_array_equal(first.obs[0], expected.observation["orientations"].astype("f4"))
    for _ in range(5):
        result = env.step(ACTION)
        frames = [reference.step(np.full(6, 0.5)) for _ in range(2)]
        assert result.reward == pytest.approx(sum(frame.reward for frame in frames), rel=1e-12)
        last = frames[-1].observation
        np.testing.assert_array_equal(result.obs[2], last["velocity"].astype("f4"))
        assert result.obs[1] == np.float32(last["height"])


def test_the_suites_time_limit_truncates_after_a_thousand_frames(backend: DmcBackend) -> None:
    traits = backend.prepare("cartpole-balance", {"action_repeat": 8})
    assert (traits.max_episode_steps, traits.reward_low, traits.reward_high) == (125, 0, 8)
    env = backend.make("cartpole-balance", {"action_repeat": 8})
    env.reset(0)
    results = [env.step([np.zeros(1, np.float32)]) for _ in range(125)]
    assert [r.truncated for r in results] == [False] * 124 + [True]
    assert not any(r.terminated for r in results)


def test_a_zero_discount_terminates(backend: DmcBackend) -> None:
    env = backend.make("lqr-lqr_2_1", {})
    env.reset(0)
    physics = env._env._env.physics  # type: ignore[attr-defined]
    with physics.reset_context():  # lqr ends at rest at the origin
        physics.data.qpos[:] = 0
    result = env.step([np.zeros(env.action_space.shape, np.float32)])  # type: ignore[union-attr]
    assert (result.terminated, result.truncated) == (True, False)
    assert backend.prepare("lqr-lqr_2_1", {}).max_episode_steps == 0


def test_seeds_repeat_an_episode_and_slots_without_seeds_differ(backend: DmcBackend) -> None:
    one, two = backend.make("walker-walk", {}), backend.make("walker-walk", {})
    seed = 2**63 + 1
    first = one.reset(seed).obs[0].tolist()
    going_on = one.reset(None).obs[0].tolist()
    assert going_on != first
    assert two.reset(None).obs[0].tolist() not in (first, going_on)
    assert two.reset(seed).obs[0].tolist() == first
    assert two.reset(None).obs[0].tolist() == going_on
    assert two.reset(seed + 1).obs[0].tolist() != first


def test_frames_show_the_scene_and_how_it_changes(backend: DmcBackend) -> None:
    env = prepared(backend, "walker-walk", {"image": {"size": [48, 64]}, "vector": True})
    assert backend.family().renderer in ("egl", "osmesa", "glfw")
    leaves = spaces.leaves(env.observation_space)
    assert [leaf.path for leaf in leaves] == ["orientations", "height", "velocity", "image"]
    assert leaves[-1].space == spaces.Box((48, 64, 3), "uint8", 0, 255, "IMAGE_HWC")
    before = env.reset(0).obs[-1]
    after = [env.step(ACTION) for _ in range(5)][-1].obs[-1]
    assert before.shape == (48, 64, 3)
    assert before.std() > 10
    assert not np.array_equal(before, after)
    assert env.reset(0).obs[-1].tolist() == before.tolist()
    env.close()


def test_fast_frames_drop_the_sky_and_other_cameras_see_otherwise(backend: DmcBackend) -> None:
    frames = {}
    for name, config in {
        "full": {"image": {"size": [32, 32]}},
        "fast": {"image": {"size": [32, 32]}, "quality": "fast"},
        "back": {"image": {"size": [32, 32], "camera": "back"}},
        "gray": {"image": {"size": [32, 32], "grayscale": True}},
    }.items():
        env = prepared(backend, "walker-walk", config)
        frames[name] = env.reset(0).obs[-1]
        env.close()
    assert frames["full"][0].min() > 0
    assert frames["fast"][0].max() == 0  # the top row shows only sky
    assert not np.array_equal(frames["full"], frames["back"])
    luma = frames["full"] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(frames["gray"][..., 0] - luma).max() <= 0.5001


def test_frames_for_people_leave_the_observed_ones_as_they_are(backend: DmcBackend) -> None:
    assert backend.prepare("walker-walk", {}).render_modes == ("rgb_array",)
    plain = backend.make("walker-walk", {}, render=True)
    plain.reset(0)
    assert (plain.render().shape, plain.render().dtype) == ((240, 320, 3), np.uint8)
    assert plain.render().std() > 10
    plain.close()
    config = {"image": {"size": [32, 48], "camera": "back"}, "quality": "fast", "action_repeat": 2}
    watched = backend.make("walker-walk", config, render=True)
    alone = prepared(backend, "walker-walk", config)
    for env in (watched, alone):
        env.reset(0)
    for _ in range(3):
        frame = watched.render()
        assert np.array_equal(frame, watched.render())
        np.testing.assert_array_equal(watched.step(ACTION).obs[0], alone.step(ACTION).obs[0])
        assert not np.array_equal(frame, watched.render())
    for env in (watched, alone):
        env.close()


def test_asking_about_a_task_loads_no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    unchosen = DmcBackend()
    monkeypatch.setattr(unchosen._renderer, "use", lambda *_: pytest.fail("it was chosen"))
    for env_id in unchosen.family().env_ids:
        assert unchosen.prepare(env_id, {}).render_modes == ("rgb_array",)


def test_the_quadruped_is_seen_by_its_third_camera(backend: DmcBackend) -> None:
    frames = []
    for camera in (None, 2, 0):
        config = {"image": {"size": [16, 16], "camera": camera}, "quality": "fast"}
        env = prepared(backend, "quadruped-walk", config)
        frames.append(env.reset(0).obs[-1].tolist())
        env.close()
    assert frames[0] == frames[1] != frames[2]


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("walker-wlak", "dm_control.suite has no task 'walker-wlak'. Did you mean walker-walk?"),
        ("dmc_walker_walk", "has no task 'dmc_walker_walk'. Did you mean walker-walk?"),
        ("zzz", "dm_control.suite has no task 'zzz'."),
    ],
)
def test_unknown_tasks_are_refused(backend: DmcBackend, env_id: str, message: str) -> None:
    with pytest.raises(UnknownEnvError) as caught:
        backend.prepare(env_id, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"quality": "low"}, "quality", "'quality' must be one of full, fast, got 'low'"),
        (
            {"render_backend": "mesa"},
            "render_backend",
            "'render_backend' must be one of auto, egl, osmesa, glfw, got 'mesa'",
        ),
        (
            {"image": {"camera": 7}},
            "image.camera",
            r"no camera 7 here, only: -1 \(free\), 0 \(side\), 1 \(back\)",
        ),
        ({"render_device": -1}, "render_device", "must be an integer >= 0, got -1"),
        ({"image": {"camera": "top"}}, "image.camera", "no camera 'top' here"),
        ({"kwargs": {}}, "kwargs", "unknown option 'kwargs'"),
    ],
)
def test_wrong_options_are_refused(
    backend: DmcBackend, config: dict, field: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        prepared(backend, "walker-walk", config)
    assert caught.value.field == field


@pytest.mark.slow
def test_every_task_of_the_suite_keeps_its_promises(backend: DmcBackend) -> None:
    for env_id in backend.family().env_ids:
        traits = backend.prepare(env_id, {})
        env = backend.make(env_id, {})
        leaves = spaces.leaves(env.observation_space)
        env.reset(0)
        action = spaces.sample(env.action_space, np.random.default_rng(0))
        for leaf, array in zip(leaves, env.step([action]).obs, strict=True):
            spaces.check(leaf, array[None])
        limit = env._env._env._step_limit  # type: ignore[attr-defined]
        assert traits.max_episode_steps == (0 if np.isinf(limit) else limit), env_id
        env.close()
