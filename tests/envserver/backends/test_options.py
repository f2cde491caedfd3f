"""Options are read strictly, and refusals name the option and the closest one."""

from __future__ import annotations

import pytest
from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.options import CommonOptions, ImageOptions, OptionReader


def read(config: dict) -> CommonOptions:
    reader = OptionReader(config)
    options = CommonOptions.read(reader)
    reader.finish()
    return options


def test_left_out_and_null_options_have_their_defaults() -> None:
    names = ("action_repeat", "time_limit", "image", "vector", "normalize_actions", "clip_actions")
    assert read({}) == read(dict.fromkeys(names)) == CommonOptions()
    assert CommonOptions() == CommonOptions(1, None, None, True, True, True)


def test_vectors_are_dropped_when_frames_are_asked_for_unless_kept() -> None:
    assert read({"image": {}}) == CommonOptions(image=ImageOptions(), vector=False)
    assert read({"image": {}, "vector": True}).vector
    assert read({"image": {"size": [48, 32], "camera": "top", "grayscale": True}}).image == (
        ImageOptions((48, 32), "top", True)
    )


def test_episode_steps_round_up_the_shorter_limit() -> None:
    assert read({}).episode_steps(None) == 0
    assert read({}).episode_steps(200) == 200
    assert read({"time_limit": 5, "action_repeat": 2}).episode_steps(1000) == 3
    assert read({"time_limit": 5000, "action_repeat": 4}).episode_steps(1000) == 250


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        (
            {"actoin_repeat": 2},
            "actoin_repeat",
            "unknown option 'actoin_repeat'. Did you mean action_repeat? The options here: "
            "action_repeat, clip_actions, image, normalize_actions, time_limit, vector",
        ),
        (
            {"image": {"szie": [64, 64]}},
            "image.szie",
            "unknown option 'image.szie'. Did you mean size? "
            "The options here: camera, grayscale, size",
        ),
        (
            {"xyzzy": 1},
            "xyzzy",
            "unknown option 'xyzzy'. The options here: action_repeat, clip_actions, image, "
            "normalize_actions, time_limit, vector",
        ),
        (
            {"action_repeat": 0},
            "action_repeat",
            "option 'action_repeat' must be an integer >= 1, got 0",
        ),
        (
            {"action_repeat": 2**31},
            "action_repeat",
            "option 'action_repeat' must be an integer <= 2147483647, got 2147483648",
        ),
        (
            {"action_repeat": True},
            "action_repeat",
            "option 'action_repeat' must be an integer >= 1, got True",
        ),
        (
            {"time_limit": 10.0},
            "time_limit",
            "option 'time_limit' must be an integer >= 1, got 10.0",
        ),
        ({"vector": "no"}, "vector", "option 'vector' must be true or false, got 'no'"),
        ({"image": [64, 64]}, "image", "option 'image' must be a mapping, got [64, 64]"),
        (
            {"image": {"size": [64]}},
            "image.size",
            "option 'image.size' must be [height, width], each from 1 to 4096, got [64]",
        ),
        (
            {"image": {"size": [64, 5000]}},
            "image.size",
            "option 'image.size' must be [height, width], each from 1 to 4096, got [64, 5000]",
        ),
        (
            {"image": {"camera": 1.5}},
            "image.camera",
            "option 'image.camera' must be an index or a name, got 1.5",
        ),
        (
            {"vector": False},
            "vector",
            "vector: false without image leaves nothing to observe",
        ),
    ],
)
def test_wrong_options_are_refused(config: dict, field: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config)
    assert str(caught.value) == message
    assert caught.value.field == field


def test_a_choice_lists_what_may_be_chosen() -> None:
    reader = OptionReader({"quality": "low"})
    with pytest.raises(ConfigError, match="'quality' must be one of full, fast, got 'low'"):
        reader.choice("quality", ("full", "fast"))
    assert OptionReader({}).choice("quality", ("full", "fast")) == "full"
