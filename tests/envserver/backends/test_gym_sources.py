"""What `--env ID=module:factory` may name, and what is said where it names nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, SourceError, UnknownEnvError
from wmrun_envserver.wire import spaces

gymnasium = pytest.importorskip("gymnasium")

from wmrun_envserver.backends.gym import GymBackend  # noqa: E402

MAZES = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Maze(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = Box(0, 9, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, size=3, render_mode=None):
        self.size, self.render_mode = size, render_mode

    def reset(self, *, seed=None, options=None):
        self.place = 0
        return np.float32([self.place]), {}

    def step(self, action):
        self.place += int(action)
        return np.float32([self.place]), 1.0, self.place == self.size, False, {}

    def render(self):
        return np.full((4, 6, 3), self.place, np.uint8)


class Blind(Maze):
    metadata = {"render_modes": []}


def make(size, walls="thick", render_mode=None):
    return Maze(size, render_mode)


def limited(**kwargs):
    return gymnasium.make("Maze-v0", **kwargs)


def make_nothing():
    return {"maze": 1}


def make_class():
    return Maze


class factories:
    @staticmethod
    def small():
        return Maze(1)


COUNT = 7
gymnasium.register("Maze-v0", Maze, max_episode_steps=5)
gymnasium.register("Bare", Maze)
"""


@pytest.fixture(autouse=True)
def mazes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a package `my_envs`."""
    package = tmp_path / "my_envs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "maze.py").write_text(MAZES)
    (package / "broken.py").write_text("import a_package_that_is_missing")
    monkeypatch.setenv("MUJOCO_GL", "egl")  # else the first frame would set it, and leave it so
    monkeypatch.setenv("PYTHONPATH", "/a/place")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_envs"]:
        del sys.modules[name]
    for env_id in ("Maze-v0", "Bare"):
        gymnasium.registry.pop(env_id, None)


def offering(env_id: str, source: str) -> GymBackend:
    backend = GymBackend()
    backend.offer(env_id, source)
    return backend


def prepared(backend: GymBackend, config: dict) -> Env:
    backend.prepare("maze", config)
    return backend.make("maze", config)


def test_a_factory_is_called_with_the_kwargs_of_the_config() -> None:
    backend = offering("maze", "my_envs.maze:make")
    assert "maze" in backend.family().env_ids
    config = {"kwargs": {"size": 2}}
    assert backend.prepare("maze", config).render_modes == ("rgb_array",)
    env = backend.make("maze", config)
    assert env.action_space == spaces.Discrete(2)
    assert env.reset(0).obs[0].tolist() == [0]
    results = [env.step([np.array(1)]) for _ in range(2)]
    assert [result.terminated for result in results] == [False, True]


def test_a_factory_draws_where_frames_are_asked_for() -> None:
    backend = offering("maze", "my_envs.maze:make")
    config = {"kwargs": {"size": 9}, "image": {"size": [2, 3]}}
    backend.prepare("maze", config)
    env = backend.make("maze", config, render=True)
    env.reset(0)
    assert env.step([np.array(1)]).obs[0].tolist() == np.full((2, 3, 3), 1).tolist()
    assert env.render().tolist() == np.full((4, 6, 3), 1).tolist()


@pytest.mark.parametrize(
    ("env_id", "source", "limit"),
    [
        ("maze", "my_envs.maze:Maze", 0),
        ("maze", "my_envs.maze:factories.small", 0),
        ("maze", "my_envs.maze:limited", 0),
        ("Maze-v0", "my_envs.maze", 5),
        ("maze", "my_envs.maze:Maze-v0", 5),
        ("maze", "my_envs.maze:Bare", 0),
    ],
)
def test_classes_attributes_and_registered_ids_are_sources_too(
    env_id: str, source: str, limit: int
) -> None:
    backend = offering(env_id, source)
    assert backend.prepare(env_id, {}).max_episode_steps == limit
    env = backend.make(env_id, {})
    env.reset(0)
    assert env.step([np.array(1)]).obs[0].tolist() == [1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "my_envs.maze:mkae",
            "my_envs.maze has no 'mkae'. Did you mean Maze or make? It has: Maze, Blind, make, "
            "limited, make_nothing, make_class, factories, Box and 1 more. It registers: Maze-v0",
        ),
        ("my_envs.maze:nope", "my_envs.maze has no 'nope'. It has: Maze, Blind, make,"),
        ("my_envs:nope", "my_envs has no 'nope'. Nothing in it can be called."),
        ("my_envs.maze:Maze-v1", "Did you mean Maze-v0"),
        ("my_envs.maze:factories.large", "my_envs.maze has no 'factories.large'."),
        (
            "my_envs.maze",
            "my_envs.maze registers no env 'maze'. Did you mean Maze-v0? It registers: Maze-v0, "
            "Bare. A factory is named with a colon: my_envs.maze:make",
        ),
        ("my_envs.maze:COUNT", "that is an int, expected a callable"),
        (
            "my_envs.amaze:make",
            "importing my_envs.amaze failed: ModuleNotFoundError: No module named 'my_envs.amaze'. "
            f"{sys.executable} looks in its own packages, in PYTHONPATH (/a/place) and in the "
            "working directory (",
        ),
        ("nomod:X", "set PYTHONPATH=DIR to the directory that holds nomod"),
        (
            "my_envs.broken:make",
            "importing my_envs.broken failed: ModuleNotFoundError: No module named "
            "'a_package_that_is_missing'",
        ),
        ("my_envs/maze.py", "expected module:factory, such as my_envs.maze:make"),
        (":make", "expected module:factory"),
        ("", "expected module:factory"),
    ],
)
def test_a_source_that_names_nothing_says_what_is_there(source: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        offering("maze", source)
    assert str(caught.value).startswith(f"--env maze={source}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "config", "field", "message"),
    [
        (
            "make",
            {"kwargs": {"szie": 2}},
            "kwargs",
            "my_envs.maze:make(size, walls='thick', render_mode=None) cannot be called with these "
            "kwargs: missing a required argument: 'size'. Did you mean size?",
        ),
        ("make", {}, "kwargs", "missing a required argument: 'size'"),
        ("make_nothing", {}, "env_id", "make_nothing returned a dict, expected a gymnasium.Env"),
        ("make_class", {}, "env_id", "make_class returned the class Maze, not an instance"),
        ("Blind", {"image": {}}, "image", "maze renders no frames: leave image out"),
    ],
)
def test_factories_that_cannot_be_used_are_refused(
    source: str, config: dict, field: str, message: str
) -> None:
    backend = offering("maze", f"my_envs.maze:{source}")
    with pytest.raises(ConfigError) as caught:
        prepared(backend, config)
    assert message in str(caught.value)
    assert caught.value.field == field


@pytest.mark.parametrize("source", ["my_envs.broken:make", "my_envs.maze:nope"])
def test_a_module_that_is_there_is_not_looked_for_elsewhere(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        offering("maze", source)
    assert "PYTHONPATH" not in str(caught.value)


def test_ids_of_modules_are_unknown_unless_offered() -> None:
    backend = GymBackend()
    for env_id in ("my_envs.maze:make", "my_envs.maze:Maze-v0"):
        with pytest.raises(UnknownEnvError):
            backend.prepare(env_id, {})
    assert "my_envs.maze" not in sys.modules
