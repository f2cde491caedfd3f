"""Action repeat, time limit, action scaling and frames, around the echo env."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from wmrun_envserver.backends.base import Env, StepResult
from wmrun_envserver.backends.box_actions import BoxActions
from wmrun_envserver.backends.echo import EchoBackend
from wmrun_envserver.backends.frames import fit
from wmrun_envserver.backends.options import ImageOptions
from wmrun_envserver.wire import spaces

ZERO = [np.zeros(2, np.float32)]


def echo(**config: object) -> Env:
    env = EchoBackend().make("echo", config)
    env.reset(0)
    return env


def ends(result: StepResult) -> tuple[float, bool, bool]:
    return result.reward, result.terminated, result.truncated


def test_rewards_are_summed_over_the_action_repeat_and_the_last_frame_is_observed() -> None:
    env = echo(action_repeat=3)
    first, second = env.step(ZERO), env.step(ZERO)
    assert ends(first) == (1 + 2 + 3, False, False)
    assert ends(second) == (4 + 5 + 6, False, False)
    assert second.obs[0][0] == 6
    assert second.info["step"] == 6


def test_an_episode_that_ends_inside_the_repeat_stops_there() -> None:
    env = echo(action_repeat=3, length=4)
    env.step(ZERO)
    last = env.step(ZERO)
    assert ends(last) == (4, True, False)
    assert last.obs[0][0] == 4


def test_the_time_limit_counts_frames_and_truncates() -> None:
    env = echo(action_repeat=2, time_limit=5)
    assert [ends(env.step(ZERO)) for _ in range(3)] == [
        (1 + 2, False, False),
        (3 + 4, False, False),
        (5, False, True),
    ]


def test_the_time_limit_starts_again_at_a_reset() -> None:
    env = echo(time_limit=2)
    env.step(ZERO)
    env.reset(None)
    assert not env.step(ZERO).truncated
    assert env.step(ZERO).truncated


def test_an_end_state_on_the_last_frame_is_both() -> None:
    assert ends(echo(length=1, time_limit=1).step(ZERO)) == (1, True, True)


def test_limits_make_the_promised_episode_length() -> None:
    config = {"length": 7, "terminate": False, "action_repeat": 2}
    promised = EchoBackend().prepare("echo", config).max_episode_steps
    env = echo(**config)
    flags = [env.step(ZERO).truncated for _ in range(promised)]
    assert flags == [False, False, False, True]


class Recorder(Env):
    """Takes actions of one space and keeps the last."""

    observation_space = spaces.Dict(())

    def __init__(self, action_space: spaces.Space) -> None:
        self.action_space = action_space
        self.taken: list[np.ndarray] = []

    def reset(self, seed: int | None) -> StepResult:
        return StepResult([])

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self.taken = list(action)
        return StepResult([])

    def close(self) -> None:
        self.taken = []


MIXED = spaces.Dict(
    (
        ("arm", spaces.Box((4,), "float64", [-2, 0, -np.inf, 3], [2, 10, 1, np.inf], "VECTOR")),
        ("gear", spaces.Discrete(3)),
        ("count", spaces.Box((1,), "int32", 0, 9)),
    )
)


def test_bounded_actions_are_offered_as_minus_one_to_one() -> None:
    env = BoxActions(Recorder(MIXED), normalize=True, clip=True)
    expected = spaces.Box((4,), "float32", [-1, -1, -np.inf, 3], [1, 1, 1, np.inf], "VECTOR")
    assert env.action_space == spaces.Dict((("arm", expected), *MIXED.entries[1:]))


@pytest.mark.parametrize(
    ("clip", "action", "expected"),
    [
        (True, [-1, -1, -7, 3], [-2, 0, -7, 3]),
        (True, [0.5, 0.5, 1, 8], [1, 7.5, 1, 8]),
        (True, [1.5, -1.5, 2, 0], [2, 0, 1, 3]),
        (False, [1.5, -1.5, 2, 0], [3, -2.5, 2, 0]),
    ],
)
def test_actions_are_mapped_onto_the_bounds(
    clip: bool, action: list[float], expected: list[float]
) -> None:
    recorder = Recorder(MIXED)
    env = BoxActions(recorder, normalize=True, clip=clip)
    others = [np.array(2), np.array([9], np.int32)]
    env.step([np.array(action, np.float32), *others])
    assert recorder.taken[0].dtype == np.float64
    np.testing.assert_allclose(recorder.taken[0], expected, rtol=1e-7)
    assert recorder.taken[1:] == others


def test_an_element_with_one_value_gets_that_value_whatever_the_action() -> None:
    recorder = Recorder(spaces.Box((2,), "float32", [0.3, -2], [0.3, 4]))
    env = BoxActions(recorder, normalize=True, clip=True)
    assert env.action_space == spaces.Box((2,), "float32", [-1, -1], [1, 1])
    for action in ([-1, -1], [0.7, 1]):
        env.step([np.array(action, np.float32)])
        np.testing.assert_array_equal(recorder.taken[0], np.float32([0.3, action[1] * 3 + 1]))


def test_without_normalising_actions_keep_their_space_and_are_clipped() -> None:
    recorder = Recorder(MIXED)
    env = BoxActions(recorder, normalize=False, clip=True)
    assert env.action_space == MIXED
    env.step([np.array([-9.0, 5, -9, 2]), np.array(0), np.array([0], np.int32)])
    assert recorder.taken[0].tolist() == [-2, 5, -9, 3]


def test_rounding_never_leaves_the_bounds() -> None:
    low, high = np.float32(-0.1), np.float32(0.7)
    recorder = Recorder(spaces.Box((3,), "float32", low, high))
    env = BoxActions(recorder, normalize=True, clip=True)
    env.step([np.array([-1, 1, np.nextafter(np.float32(1), np.float32(0))], np.float32)])
    assert recorder.taken[0].min() == low
    assert recorder.taken[0].max() == high


def test_frames_replace_the_vector_unless_it_is_kept() -> None:
    frame = spaces.Box((2, 3, 3), "uint8", 0, 255, "IMAGE_HWC")
    alone = echo(image={"size": [2, 3]})
    assert alone.observation_space == spaces.Dict((("image", frame),))
    both = echo(image={"size": [2, 3]}, vector=True)
    assert isinstance(both.observation_space, spaces.Dict)
    assert [key for key, _ in both.observation_space.entries] == ["vector", "image"]
    vector, image = both.step(ZERO).obs
    assert vector[0] == 1
    assert image.tolist() == (np.arange(18).reshape(2, 3, 3) + 8).tolist()


def test_a_frame_is_drawn_once_per_agent_step(monkeypatch: pytest.MonkeyPatch) -> None:
    env = echo(image={"size": [1, 1]}, action_repeat=4)
    drawn = []
    render = env._render  # type: ignore[attr-defined]
    monkeypatch.setattr(env, "_render", lambda: drawn.append(1) or render())
    assert env.step(ZERO).obs[0].flat[0] == 8 * 4
    assert len(drawn) == 1


def test_frames_are_averaged_down_and_weighted_to_gray() -> None:
    checkers = np.zeros((8, 8, 3), np.uint8)
    checkers[::2, ::2] = checkers[1::2, 1::2] = 200
    small = fit(checkers, ImageOptions(size=(2, 4)))
    assert small.shape == (2, 4, 3)
    assert np.abs(small.astype(int) - 100).max() <= 13
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 200
    assert fit(red, ImageOptions((1, 1), grayscale=True)).tolist() == [[[60]]]  # 0.299 × 200
    gray = np.full((1, 1, 1), 7, np.uint8)
    assert fit(gray, ImageOptions((1, 1))).tolist() == [[[7, 7, 7]]]
    assert fit(gray, ImageOptions((2, 1), grayscale=True)).tolist() == [[[7]], [[7]]]
