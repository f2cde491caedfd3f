"""Behaviours become spaces, and their arrays the arrays of these."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.options import CommonOptions, ImageOptions
from wmrun_envserver.backends.unity_behavior import BehaviorSpaces
from wmrun_envserver.wire import spaces

UNIT = spaces.Box((2,), "float32", -1, 1)
BRANCHES = spaces.MultiDiscrete([3, 2])


def sensor(name: str, *shape: int, kind: str = "DEFAULT") -> SimpleNamespace:
    return SimpleNamespace(name=name, shape=shape, observation_type=SimpleNamespace(name=kind))


def behavior(
    *sensors: SimpleNamespace,
    continuous: int = 0,
    branches: tuple[int, ...] = (),
    common: CommonOptions | None = None,
) -> BehaviorSpaces:
    action = SimpleNamespace(continuous_size=continuous, discrete_branches=branches)
    spec = SimpleNamespace(observation_specs=list(sensors or [sensor("v", 3)]), action_spec=action)
    return BehaviorSpaces("Walker", spec, common or CommonOptions())


@pytest.mark.parametrize(
    ("continuous", "branches", "expected"),
    [
        (2, (), UNIT),
        (0, (3,), spaces.Discrete(3)),
        (0, (3, 2), BRANCHES),
        (2, (3,), spaces.Dict((("continuous", UNIT), ("discrete", spaces.Discrete(3))))),
        (2, (3, 2), spaces.Dict((("continuous", UNIT), ("discrete", BRANCHES)))),
    ],
)  # fmt: skip
def test_actions_are_a_box_branches_or_both(
    continuous: int, branches: tuple[int, ...], expected: spaces.Space
) -> None:
    assert behavior(continuous=continuous, branches=branches).action_space == expected


def test_hybrid_actions_are_split_in_two() -> None:
    walker = behavior(continuous=2, branches=(3, 2))
    pair = [np.array([0.5, -1], np.float32), np.array([2, 1])]
    real, whole = walker.act([pair, walker.rest()])
    np.testing.assert_array_equal(real, np.array([[0.5, -1], [0, 0]], np.float32))
    np.testing.assert_array_equal(whole, np.array([[2, 1], [0, 0]], np.int32))
    assert (real.dtype, whole.dtype) == (np.float32, np.int32)


def test_one_branch_is_a_scalar_per_row() -> None:
    real, whole = behavior(branches=(3,)).act([[np.int64(2)], [np.int64(0)]])
    assert real.shape == (2, 0)
    np.testing.assert_array_equal(whole, [[2], [0]])


def test_a_behavior_without_actions_is_refused() -> None:
    with pytest.raises(ConfigError, match="'Walker' takes no actions"):
        behavior()


def test_names_are_keys_made_unique_without_slashes() -> None:
    walker = behavior(
        sensor("v", 3), sensor("v", 3), sensor("", 1), sensor("a/b", 1), sensor("action_mask", 1),
        branches=(2,),
    )  # fmt: skip
    assert [leaf.path for leaf in spaces.leaves(walker.observation_space)] == [
        "v", "v_2", "sensor_2", "a_b", "action_mask_2", "action_mask",
    ]  # fmt: skip


def test_roles_follow_the_rank_and_the_kind_of_a_sensor() -> None:
    walker = behavior(
        sensor("v", 3), sensor("buffer", 4, 2), sensor("goal", 2, kind="GOAL_SIGNAL"),
        sensor("camera", 3, 5, 7), continuous=1,
    )  # fmt: skip
    assert walker.observation_space == spaces.Dict(
        (
            ("v", spaces.Box((3,), "float32", role="VECTOR")),
            ("buffer", spaces.Box((4, 2), "float32")),
            ("goal", spaces.Box((2,), "float32", role="GOAL")),
            ("camera", spaces.Box((5, 7, 3), "uint8", 0, 255, "IMAGE_HWC")),
        )
    )


def test_pixels_are_rounded_and_channels_last() -> None:
    walker = behavior(sensor("camera", 2, 3, 4), continuous=1)
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4) * 10
    (image,) = walker.observe([np.float32(pixels) / np.float32(255)], None)
    np.testing.assert_array_equal(image, pixels.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("value", [1.5, -0.5, np.nan, np.inf])
def test_values_that_are_no_pixels_are_an_error(value: float) -> None:
    walker = behavior(sensor("grid", 1, 2, 2), continuous=1)
    with pytest.raises(ValueError, match=r"'grid' must lie in \[0, 1\]"):
        walker.observe([np.full((1, 1, 2, 2), value, np.float32)], None)


def test_masks_say_what_is_allowed_and_end_rows_allow_all() -> None:
    walker = behavior(branches=(2, 3))
    obs = [np.zeros((2, 3), np.float32)]
    forbidden = [
        np.array([[True, False], [False, False]]),
        np.array([[False, True, False], [False, False, True]]),
    ]
    _, mask = walker.observe(obs, forbidden)
    np.testing.assert_array_equal(
        mask, [[False, True, True, False, True], [True, True, True, True, False]]
    )
    _, mask = walker.observe(obs, None)
    assert mask.shape == (2, 5)
    assert mask.all()


def test_images_are_brought_to_size_and_the_rest_is_left_out_unless_asked_for() -> None:
    sensors = [sensor("v", 3), sensor("camera", 3, 8, 8), sensor("stacked", 2, 8, 8)]
    obs: list[Any] = [np.zeros((1, 3)), np.full((1, 3, 8, 8), 0.2), np.zeros((1, 2, 8, 8))]
    obs[2][:, 1] = 1.0
    image = ImageOptions((4, 6))
    walker = behavior(*sensors, continuous=1, common=CommonOptions(image=image, vector=False))
    assert walker.observation_space == spaces.Dict(
        (
            ("camera", spaces.Box((4, 6, 3), "uint8", 0, 255, "IMAGE_HWC")),
            ("stacked", spaces.Box((4, 6, 2), "uint8", 0, 255, "IMAGE_HWC")),
        )
    )
    camera, stacked = walker.observe(obs, None)
    np.testing.assert_array_equal(camera, np.full((1, 4, 6, 3), 51))
    np.testing.assert_array_equal(stacked[0, 0, 0], [0, 255])
    both = behavior(*sensors, continuous=1, common=CommonOptions(image=image, vector=True))
    assert spaces.leaves(both.observation_space)[0].path == "v"


def test_grayscale_weighs_colours_and_refuses_what_is_no_colour() -> None:
    grey = CommonOptions(image=ImageOptions((2, 2), None, True), vector=False)
    walker = behavior(sensor("camera", 3, 2, 2), continuous=1, common=grey)
    green = np.zeros((1, 3, 2, 2), np.float32)
    green[:, 1] = 1
    (image,) = walker.observe([green], None)
    np.testing.assert_array_equal(image, np.full((1, 2, 2, 1), 150))  # 0.587 * 255, BT.601
    with pytest.raises(ConfigError, match="'stacked' has 2 channels") as caught:
        behavior(sensor("stacked", 2, 2, 2), continuous=1, common=grey)
    assert caught.value.field == "image.grayscale"


def test_an_image_is_refused_where_nothing_is_visual() -> None:
    common = CommonOptions(image=ImageOptions(), vector=False)
    with pytest.raises(ConfigError, match="'Walker' has no visual observation, only v"):
        behavior(continuous=1, common=common)
