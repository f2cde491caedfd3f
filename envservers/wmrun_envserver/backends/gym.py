"""Envs of the Gymnasium registry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator

from wmrun_envserver.backends.base import (
    Backend,
    ConfigError,
    Env,
    EnvFamily,
    EnvTraits,
    StepResult,
    UnknownEnvError,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.gym_spaces import (
    from_gymnasium,
    observation_from_gymnasium,
    to_gymnasium,
)
from wmrun_envserver.backends.options import CommonOptions, OptionReader
from wmrun_envserver.backends.stack import wrapped
from wmrun_envserver.wire import spaces

# pygame greets on stdout, where the server's ready line may go, and needs no display for frames.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

_RENDER_MODE = "rgb_array"


@dataclass(frozen=True)
class GymOptions:
    """`kwargs` are passed to `gymnasium.make`."""

    common: CommonOptions
    kwargs: Mapping[str, Any]

    @staticmethod
    def read(config: Mapping[str, Any]) -> GymOptions:
        reader = OptionReader(config)
        options = GymOptions(CommonOptions.read(reader), reader.mapping("kwargs") or {})
        reader.finish()
        image = options.common.image
        if image is not None and image.camera is not None:
            raise ConfigError("gym envs have one view: leave image.camera out", "image.camera")
        for name in ("render_mode", "max_episode_steps", "id"):
            if name in options.kwargs:
                raise ConfigError(f"kwargs.{name} is set by the server", f"kwargs.{name}")
        return options


class GymBackend(Backend):
    """Offers every id that Gymnasium has registered; never `module:Env` ids."""

    def family(self) -> EnvFamily:
        return EnvFamily("gym", tuple(gymnasium.registry))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        spec = gymnasium.registry.get(env_id)
        if spec is None:
            raise UnknownEnvError(
                f"Gymnasium has no env {env_id!r} registered."
                f"{did_you_mean(env_id, gymnasium.registry)}"
            )
        options = GymOptions.read(config).common
        return EnvTraits(
            max_episode_steps=options.episode_steps(spec.max_episode_steps),
            deterministic=not spec.nondeterministic,
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        options = GymOptions.read(config)
        simulator = _make(env_id, options)
        try:
            return _wrapped(simulator, options.common)
        except BaseException:
            simulator.close()
            raise


class GymEnv(Env):
    """One Gymnasium env, its own time limit included."""

    def __init__(self, env: gymnasium.Env) -> None:
        self.observation_space = observation_from_gymnasium(env.observation_space)
        self.action_space = from_gymnasium(env.action_space)
        self._env = env
        nested = isinstance(env.observation_space, gymnasium.spaces.Dict)
        self._key = None if nested else self.observation_space.entries[0][0]

    def reset(self, seed: int | None) -> StepResult:
        obs, info = self._env.reset(seed=seed)
        return StepResult(self._flatten(obs), info=_scalars(info))

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        value = to_gymnasium(self.action_space, spaces.unflatten(self.action_space, action))
        obs, reward, terminated, truncated, info = self._env.step(value)
        return StepResult(
            self._flatten(obs), float(reward), bool(terminated), bool(truncated), _scalars(info)
        )

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        """Return the current frame, uint8 `[h, w, 3]`, at the env's own size."""
        frame: np.ndarray = self._env.render()
        return frame

    def _flatten(self, obs: Any) -> list[np.ndarray]:
        return spaces.flatten(
            self.observation_space, obs if self._key is None else {self._key: obs}
        )


def _make(env_id: str, options: GymOptions) -> gymnasium.Env:
    kwargs = dict(options.kwargs)
    if options.common.image is not None and _renders(env_id):
        kwargs["render_mode"] = _RENDER_MODE
    try:
        # The checker warns, at every first step, about what from_gymnasium settles anyway.
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except TypeError as error:
        if not options.kwargs:
            raise
        raise ConfigError(f"{env_id} refuses kwargs: {error}", "kwargs") from error
    except gymnasium.error.Error as error:
        raise ConfigError(f"{env_id} cannot be made: {error}") from error
    except ImportError as error:
        raise ConfigError(f"{env_id} cannot be made: {error}.{_install_hint(env_id)}") from error


def _renders(env_id: str) -> bool:
    # An env that cannot render may not even take a render_mode; what is not a class does not tell.
    creator = gymnasium.registry[env_id].entry_point
    if isinstance(creator, str):
        creator = load_env_creator(creator)
    modes = getattr(creator, "metadata", {}).get("render_modes")
    return modes is None or _RENDER_MODE in modes


def _install_hint(env_id: str) -> str:
    entry_point = str(gymnasium.registry[env_id].entry_point)
    package, *_ = entry_point.removeprefix("gymnasium.envs.").split(".")
    extra = package.replace("_", "-")
    extras = metadata("gymnasium").get_all("Provides-Extra") or []
    return f' Install what it needs: pip install "gymnasium[{extra}]"' if extra in extras else ""


def _wrapped(simulator: gymnasium.Env, options: CommonOptions) -> Env:
    env = GymEnv(simulator)
    own_image = any(
        leaf.path == "image" and leaf.space.role == "IMAGE_HWC"
        for leaf in spaces.leaves(env.observation_space)
    )
    if own_image:
        return wrapped(env, options)
    if options.image is not None and simulator.render_mode != _RENDER_MODE:
        raise ConfigError(f"{simulator.spec.id} renders no frames: leave image out", "image")
    return wrapped(env, options, env.render)


def _scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in info.items()
        if isinstance(value, bool | int | float | str | np.generic) and isinstance(key, str)
    }
