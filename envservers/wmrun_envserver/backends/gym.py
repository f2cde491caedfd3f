"""Gymnasium envs: those of its registry, and the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wmrun_envserver.backends.base import (
    Backend,
    ConfigError,
    Env,
    EnvFamily,
    EnvTraits,
    UnknownEnvError,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, OptionReader
from wmrun_envserver.backends.stack import wrapped
from wmrun_envserver.wire import spaces

if TYPE_CHECKING:
    import gymnasium

    from wmrun_envserver.backends.gym_makers import Maker

# pygame greets on stdout, where the server's ready line may go, and needs no display for frames.
_QUIET = {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_VIDEODRIVER": "dummy"}
_OFFSCREEN = {"egl": "EGL", "osmesa": "OSMesa"}


@dataclass(frozen=True)
class GymOptions:
    """`kwargs` are passed to `gymnasium.make`, or to the factory."""

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
    """Offers every id that Gymnasium has registered, and what `offer` names.

    A client never makes it import anything: `module:Env` ids are unknown unless offered.
    """

    def __init__(self) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import gymnasium

        from wmrun_envserver.backends import gym_makers  # imports gymnasium at module level

        self._registry = gymnasium.registry
        self._makers = gym_makers
        self._offered: dict[str, Maker] = {}

    def family(self) -> EnvFamily:
        return EnvFamily("gym", tuple(dict.fromkeys((*self._offered, *self._registry))))

    def offer(self, env_id: str, source: str) -> None:
        """Offer a factory `module:factory`, or what importing a module registers.

        See `gym_sources.from_source` for the forms. Raises `SourceError`.
        """
        from wmrun_envserver.backends.gym_sources import from_source

        self._offered[env_id] = from_source(env_id, source)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        maker = self._maker(env_id)
        options = GymOptions.read(config)
        maker.check(options.kwargs)
        return EnvTraits(
            max_episode_steps=options.common.episode_steps(maker.max_episode_steps),
            deterministic=maker.deterministic,
            render_modes=(self._makers.RENDER_MODE,) if maker.may_render else (),
            any_thread=maker.any_thread and options.common.image is None,
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        options = GymOptions.read(config)
        draws = render or options.common.image is not None
        if draws:
            _draw_offscreen()
        simulator = self._maker(env_id).make(options.kwargs, render=draws)
        try:
            return self._wrapped(env_id, simulator, options.common, render)
        except BaseException:
            simulator.close()
            raise

    def _maker(self, env_id: str) -> Maker:
        maker = self._offered.get(env_id) or self._makers.registered(env_id)
        if maker is None:
            raise UnknownEnvError(
                f"Gymnasium has no env {env_id!r} registered."
                f"{did_you_mean(env_id, self.family().env_ids)}"
            )
        return maker

    def _wrapped(
        self, env_id: str, simulator: gymnasium.Env, options: CommonOptions, render: bool
    ) -> Env:
        from wmrun_envserver.backends.gym_env import GymEnv

        env = GymEnv(simulator)
        can_render = simulator.render_mode == self._makers.RENDER_MODE
        if render and not can_render:
            raise ConfigError(f"{env_id} renders no frames: ask for no render mode", "render_mode")
        own_image = any(
            leaf.path == "image" and leaf.space.role == "IMAGE_HWC"
            for leaf in spaces.leaves(env.observation_space)
        )
        if own_image:
            return wrapped(env, options)
        if options.image is not None and not can_render:
            raise ConfigError(f"{env_id} renders no frames: leave image out", "image")
        return wrapped(env, options, env.render)


def _draw_offscreen() -> None:
    """Have Gymnasium's MuJoCo envs draw without a display where there is none.

    Only once something is drawn: MuJoCo then loads OpenGL, which a machine may not have.
    """
    if not os.environ.get("DISPLAY") and not os.environ.get("MUJOCO_GL"):
        found = (name for name, library in _OFFSCREEN.items() if find_library(library))
        os.environ["MUJOCO_GL"] = next(found, "egl")
