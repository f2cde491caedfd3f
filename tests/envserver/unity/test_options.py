"""Options of Unity scenes are read or refused by name; players are named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wmrun_envserver.backends.base import ConfigError, SourceError
from wmrun_envserver.backends.unity_options import Sampler, UnityOptions
from wmrun_envserver.backends.unity_source import PlayerSource


def test_the_defaults_are_those_that_ml_agents_trains_with() -> None:
    engine = UnityOptions.read({}).engine
    assert (engine.time_scale, engine.target_frame_rate, engine.capture_frame_rate) == (20, -1, 60)
    assert (engine.width, engine.height, engine.quality_level) == (None, None, None)


def test_parameters_are_numbers_or_samplers() -> None:
    options = UnityOptions.read(
        {
            "parameters": {
                "gravity": -9.5,
                "mass": {"sampler": "uniform", "min": 1, "max": 2, "seed": 7},
                "wind": {"sampler": "gaussian", "mean": 0, "std": 0.5},
                "size": {"sampler": "multirange_uniform", "intervals": [[1, 2], [3, 4]]},
            }
        }
    )
    assert options.parameters == {
        "gravity": -9.5,
        "mass": Sampler("uniform", (1, 2), 7),
        "wind": Sampler("gaussian", (0, 0.5)),
        "size": Sampler("multirange_uniform", (1, 2, 3, 4)),
    }


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({"behaviour": "X"}, "behaviour", "Did you mean behavior?"),
        ({"behavior": 3}, "behavior", "must be a name"),
        ({"agents": 0}, "agents", "must be an integer >= 1"),
        ({"time_scale": -1}, "time_scale", "must be a number >= 0"),
        ({"time_scale": "fast"}, "time_scale", "must be a number >= 0"),
        ({"timeout_s": 0.5}, "timeout_s", "must be a number >= 1"),
        ({"start_timeout_s": 0}, "start_timeout_s", "must be a number >= 1"),
        ({"target_frame_rate": -2}, "target_frame_rate", "must be an integer >= -1"),
        ({"width": 84}, "height", "'width' needs 'height' beside it"),
        ({"height": 84}, "width", "'height' needs 'width' beside it"),
        ({"width": 99999, "height": 84}, "width", "must be at most 16384"),
        ({"action_repeat": 4}, "action_repeat", "Decision Period"),
        ({"time_limit": 100, "agents": 2}, "time_limit", "set Max Step of the agents"),
        ({"image": {"camera": 1}}, "image.camera", "camera sensors"),
        ({"parameters": {"g": "x"}}, "parameters.g", "must be a number or the mapping"),
        ({"parameters": {"é": 1}}, "parameters.é", "in ASCII"),
        ({"parameters": {"g": {"sampler": "beta"}}}, "parameters.g.sampler", "must be one of"),
        (
            {"parameters": {"g": {"sampler": "uniform", "min": 1}}},
            "parameters.g.max",
            "must be a number",
        ),
        (
            {"parameters": {"g": {"sampler": "multirange_uniform", "intervals": [[1]]}}},
            "parameters.g.intervals",
            "must be a list of",
        ),
        (
            {"parameters": {"g": {"sampler": "gaussian", "mean": 0, "std": 1, "sd": 2}}},
            "parameters.g.sd",
            "Did you mean std?",
        ),
        ({"file_name": "/bin/sh"}, "file_name", "unknown option"),
        ({"additional_args": ["-x"]}, "additional_args", "unknown option"),
    ],
)
def test_a_wrong_option_is_named(config: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        UnityOptions.read(config)
    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.fixture
def player(tmp_path: Path) -> Path:
    path = tmp_path / "My Scene.x86_64"
    path.touch(mode=0o755)
    return path


def test_a_source_is_a_path_and_arguments_quoted_as_for_a_shell(player: Path) -> None:
    source = PlayerSource.parse("scene", f"'{player}' --level 3 --name 'a b'")
    assert source.command == (str(player), "--level", "3", "--name", "a b")
    assert source.name == "My Scene.x86_64"


def test_the_ending_of_a_linux_build_may_be_left_out(player: Path) -> None:
    assert PlayerSource.parse("scene", f"'{player.with_suffix('')}'").command == (str(player),)


def test_spaces_in_a_path_need_no_quotes_where_it_names_a_file(player: Path) -> None:
    for source in (str(player), f"{player.with_suffix('')} --level '3 a'"):
        assert PlayerSource.parse("scene", source).command[0] == str(player)
    assert PlayerSource.parse("scene", f"{player} --level '3 a'").command[1:] == ("--level", "3 a")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{dir}/missing", "there is no file"),
        ("{dir}", "there is no file"),
        ("{dir}/plain", "is not executable: chmod +x"),
        ("'open", "No closing quotation"),
        ("", "expected the path of a Unity player"),
    ],
)
def test_a_source_that_is_no_player_is_refused(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "plain").touch(mode=0o644)
    with pytest.raises(SourceError) as caught:
        PlayerSource.parse("scene", source.format(dir=tmp_path))
    assert words in str(caught.value)
    assert str(caught.value).startswith("--env scene=")
