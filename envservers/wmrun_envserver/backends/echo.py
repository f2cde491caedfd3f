"""A test env whose every row can be computed by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import (
    Backend,
    Env,
    EnvFamily,
    EnvTraits,
    StepResult,
    UnknownEnvError,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, ImageOptions, OptionReader
from wmrun_envserver.backends.stack import wrapped
from wmrun_envserver.wire import spaces

ENV_ID = "echo"
# Twice what fits into a message of the usual limit, for tests of just that.
_MAX_OBS_SIZE = 2**25


@dataclass(frozen=True)
class EchoOptions:
    """`length` frames per episode, ended by termination or (`terminate: false`) truncation.

    Every step takes `step_ms` milliseconds of sleep.
    """

    common: CommonOptions
    length: int
    terminate: bool
    obs_size: int
    actions: str
    every_space: bool
    step_ms: int

    @staticmethod
    def read(config: Mapping[str, Any]) -> EchoOptions:
        # What comes back is what was sent, unless scaling was asked for.
        reader = OptionReader({"normalize_actions": False, **config})
        options = EchoOptions(
            common=CommonOptions.read(reader),
            length=reader.integer("length", 10),
            terminate=reader.flag("terminate", True),
            obs_size=reader.integer("obs_size", 4, high=_MAX_OBS_SIZE),
            actions=reader.choice("actions", ("box", "discrete")),
            every_space=reader.flag("every_space", False),
            step_ms=reader.integer("step_ms", 0, low=0),
        )
        reader.finish()
        return options


class EchoBackend(Backend):
    """Offers the env id "echo"."""

    def family(self) -> EnvFamily:
        return EnvFamily("echo", (ENV_ID,))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        if env_id != ENV_ID:
            hint = did_you_mean(env_id, [ENV_ID]) or f" The only env here is {ENV_ID}."
            raise UnknownEnvError(f"unknown env id {env_id!r}.{hint}")
        options = EchoOptions.read(config)
        native = None if options.terminate else options.length
        return EnvTraits(
            max_episode_steps=options.common.episode_steps(native),
            reward_low=0.0,
            reward_high=float(options.length * options.common.action_repeat),
            render_modes=("rgb_array",),
            any_thread=True,
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        options = EchoOptions.read(config)
        env = EchoEnv(options)
        return wrapped(env, options.common, env.render)


class EchoEnv(Env):
    """Observes what it was told.

    - `vector` float32 `[obs_size]`: the step in the episode, the first number of the last action (0
      after a reset), then numbers drawn from the seed at each reset.
    - The reward is the step in the episode: 1, 2, 3 ….
    - With `every_space`, `ramp` holds the step in every dtype (see `_ramp`), and `action` repeats
      the last action, from an action space that has every kind of space.
    """

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self.action_space = _EVERY_SPACE if options.every_space else _ACTIONS[options.actions]
        entries: list[tuple[str, spaces.Space]] = [
            ("vector", spaces.Box((options.obs_size,), "float32", role="VECTOR"))
        ]
        if options.every_space:
            entries += [("ramp", _RAMP_SPACE), ("action", self.action_space)]
        self.observation_space = spaces.Dict(tuple(entries))
        self._rng = np.random.default_rng()
        self._begin()

    def reset(self, seed: int | None) -> StepResult:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._begin()
        return StepResult(self._observe(0.0))

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        if self._options.step_ms:
            time.sleep(self._options.step_ms / 1000)
        self._step += 1
        self._action = [np.array(leaf) for leaf in action]
        ended = self._step >= self._options.length
        return StepResult(
            self._observe(float(self._action[0].flat[0])),
            reward=float(self._step),
            terminated=ended and self._options.terminate,
            truncated=ended and not self._options.terminate,
            info={"step": self._step, "odd": self._step % 2 == 1, "name": f"step {self._step}"},
        )

    def close(self) -> None:
        self._action = []

    def render(self) -> np.ndarray:
        """Return a frame `[H, W, 3]` whose bytes count up from 8 × step, modulo 256."""
        image = self._options.common.image
        height, width = ImageOptions.size if image is None else image.size
        ramp = np.arange(height * width * 3) + 8 * self._step
        return ramp.astype(np.uint8).reshape(height, width, 3)

    def _begin(self) -> None:
        self._step = 0
        self._action = [_rest(leaf.space) for leaf in spaces.leaves(self.action_space)]
        self._noise = self._rng.standard_normal(self._options.obs_size)

    def _observe(self, number: float) -> list[np.ndarray]:
        vector = np.array([self._step, number, *self._noise], np.float32)
        obs = [vector[: self._options.obs_size]]
        if self._options.every_space:
            obs += [_ramp(leaf.space, self._step) for leaf in spaces.leaves(_RAMP_SPACE)]
            obs += self._action
        return obs


_ACTIONS: dict[str, spaces.Space] = {
    "box": spaces.Box((2,), "float32", -1, 1),
    "discrete": spaces.Discrete(3),
}
_DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
_RAMP_SPACE = spaces.Dict(
    (
        *((dtype, spaces.Box((2, 3), dtype)) for dtype in _DTYPES),
        ("scalar", spaces.Box((), "float32")),
        ("empty", spaces.Box((2, 0), "float32")),
        ("text", spaces.Text()),
    )
)
_EVERY_SPACE = spaces.Dict(
    (
        *((dtype, spaces.Box((2,), dtype, 0, 1)) for dtype in _DTYPES),
        ("unbounded", spaces.Box((2,), "float32")),
        ("empty", spaces.Box((2, 0), "float32")),
        ("discrete", spaces.Discrete(3, start=-1)),
        ("multi_discrete", spaces.MultiDiscrete([[2, 3], [4, 5]], [[0, 0], [1, -1]], "int32")),
        (
            "nested",
            spaces.Tuple((spaces.MultiBinary((3,)), spaces.Dict((("text", spaces.Text()),)))),
        ),
    )
)


def _ramp(space: spaces.LeafSpace, step: int) -> np.ndarray:
    """Return step, step + 1 … in row-major order, wrapped to the dtype (bool: whether odd)."""
    if isinstance(space, spaces.Text):
        return np.array(f"step {step}", space.dtype)
    ramp = np.arange(step, step + prod(space.shape)).reshape(space.shape)
    return (ramp % 2 if space.dtype == np.bool_ else ramp).astype(space.dtype)


def _rest(space: spaces.LeafSpace) -> np.ndarray:
    """Return the action that an episode starts with: zeros, or the values nearest to them."""
    if isinstance(space, spaces.Text):
        return np.array("", space.dtype)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return np.array(np.broadcast_to(space.start, space.shape), space.dtype)
    return np.zeros(space.shape, space.dtype)
