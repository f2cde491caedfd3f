"""One env id of EnvPool under the options of a session."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import envpool
import numpy as np
from envpool.registration import registry

from wmrun_envserver.backends import envpool_dmc
from wmrun_envserver.backends.base import ConfigError, EnvTraits
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.envpool import EnvPoolOptions
from wmrun_envserver.backends.envpool_pool import Pool
from wmrun_envserver.backends.envpool_spaces import ActionLayout, ObservationLayout

# Of the bounds of spaces that EnvPool makes for itself at a pool's first step.
warnings.filterwarnings("ignore", message=".*precision lowered by casting", category=UserWarning)

# Deathmatches, which wait for other players and end the process when stepped.
_CRASHING = frozenset({"Cig-v1", "MultiDuel-v1"})

ENV_IDS: tuple[str, ...] = tuple(sorted(set(envpool.list_all_envs()) - _CRASHING))

_ENDLESS = 2**31 - 1

# Their frame_skip repeats the action and sums the rewards, what `action_repeat` means. That of
# MuJoCo tasks is the number of physics steps per control step: a setting of the task.
_REPEATING = frozenset({"envpool.atari", "envpool.vizdoom"})

# A step that fails at the limit is only truncated for EnvPool; for Gymnasium it also terminates.
# Where the limit changes nothing else, EnvPool's is put off by one step and ours takes its place.
_BOTH_AT_THE_LIMIT = frozenset(
    {"envpool.box2d", "envpool.classic_control", "envpool.mujoco.gym", "envpool.toy_text"}
)

# Jumanji's own rule: running out of time is an end state.
_TERMINAL_LIMIT = frozenset({"envpool.jumanji"})

_CHANNELS_FIRST = frozenset({"envpool.atari", "envpool.procgen", "envpool.vizdoom"})

# Those of MuJoCo end the process where no OpenGL library was loaded, and the rest cannot render.
_RENDERING = frozenset(
    {
        "envpool.atari",
        "envpool.box2d",
        "envpool.classic_control",
        "envpool.highway",
        "envpool.jumanji",
        "envpool.minigrid",
        "envpool.pgx",
        "envpool.vizdoom",
    }
)

_SET_BY: Mapping[str, str] = {
    "num_envs": "is set by the number of slots",
    "batch_size": "is set by the number of slots",
    "max_num_players": "is 1: a slot is one player",
    "seed": "is set by the seeds of the session",
    "env_seed": "is set by the seeds of the session",
    "num_threads": "is an option of its own: num_threads",
    "max_episode_steps": "is set by time_limit",
    "img_height": "is set by image.size",
    "img_width": "is set by image.size",
    "gray_scale": "is set by image.grayscale",
    "gym_reset_return_info": "is set by the server",
    "reward_threshold": "changes nothing",
}


class Task:
    """What EnvPool is told for `env_id`, what it promises, and how its rows are read.

    Raises `ConfigError`.
    """

    def __init__(self, env_id: str, options: EnvPoolOptions) -> None:
        self._env_id = env_id
        self._common = options.common
        self._family = _family(env_id)
        config = _spec(env_id, {}).config._asdict()
        _check_kwargs(env_id, options.kwargs, config)
        self._kwargs = {**options.kwargs, **self._image_kwargs(config)}
        self._kwargs["num_threads"] = options.num_threads
        self._set_limits(config)
        self._spec = _spec(env_id, self._kwargs)
        self._check_players()
        self._observations = ObservationLayout(
            self._spec,
            options.common,
            channels_first=self._family in _CHANNELS_FIRST,
            flat=self._family == envpool_dmc.FAMILY,
            unobserved=envpool_dmc.unobserved(env_id),
        )
        self._actions = ActionLayout(self._spec, options.common)

    @property
    def traits(self) -> EnvTraits:
        return EnvTraits(
            max_episode_steps=self._max_episode_steps,
            seed_scope="session",
            render_modes=_render_modes(self._family),
            any_thread=True,
        )

    def make(self, num_slots: int, seeds: Sequence[int] | None, *, render: bool) -> Pool:
        """Build the pool; without `seeds` its randomness is the system's."""
        pool = _called(
            self._env_id,
            envpool.make_gymnasium,
            **self._kwargs,
            num_envs=num_slots,
            env_seed=_env_seeds(seeds, num_slots),
            **({"render_mode": "rgb_array"} if render else {}),
        )
        return Pool(pool, self._observations, self._actions, repeat=self._repeat, limit=self._limit)

    def _check_players(self) -> None:
        players = self._spec.config.max_num_players
        if players != 1:
            raise ConfigError(f"{self._env_id} has {players} players, and a slot is one")

    def _image_kwargs(self, config: Mapping[str, Any]) -> dict[str, Any]:
        image = self._common.image
        if image is None or "img_height" not in config:
            return {}
        height, width = image.size
        gray = {"gray_scale": image.grayscale} if "gray_scale" in config else {}
        return {"img_height": height, "img_width": width, **gray}

    def _set_limits(self, config: Mapping[str, Any]) -> None:
        """Settle who repeats actions and who counts to the time limit: EnvPool or `Pool`."""
        repeat, native = self._common.action_repeat, config["max_episode_steps"]
        frames = None if native == _ENDLESS else native
        if self._family in _REPEATING:
            if frames is not None:
                frames *= config["frame_skip"]
            steps = self._common.episode_steps(frames)
            self._kwargs["frame_skip"] = repeat
            self._kwargs["max_episode_steps"] = steps or _ENDLESS
            self._repeat, self._limit, self._max_episode_steps = 1, None, steps
            return
        self._repeat, self._limit = repeat, self._common.time_limit
        if frames is not None and self._family in _BOTH_AT_THE_LIMIT:
            self._kwargs["max_episode_steps"] = frames + 1
            self._limit = min(frames, self._limit or frames)
        if self._family in _TERMINAL_LIMIT:
            frames = None
        self._max_episode_steps = self._common.episode_steps(frames)


def listed(env_id: str) -> EnvTraits:
    """Return what is known of an env id without a config of it.

    Raises `ImportError` where something that its family needs is missing.
    """
    module, spec_class, _ = registry.specs[env_id]
    getattr(importlib.import_module(module), spec_class)
    return EnvTraits(seed_scope="session", render_modes=_render_modes(module))


def _family(env_id: str) -> str:
    module: str = registry.specs[env_id][0]
    return module


def _render_modes(family: str) -> tuple[str, ...]:
    return ("rgb_array",) if family in _RENDERING else ()


def _spec(env_id: str, kwargs: Mapping[str, Any]) -> Any:
    return _called(env_id, envpool.make_spec, **kwargs)


def _called(env_id: str, function: Any, **kwargs: Any) -> Any:
    try:
        return function(env_id, **kwargs)
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as error:
        field = "" if isinstance(error, ImportError) else "kwargs"
        raise ConfigError(
            f"EnvPool cannot make {env_id}: {_without_paths(error)}", field
        ) from error


def _without_paths(error: Exception) -> str:
    """Return the error's text with no more than the names of files: clients read it."""
    return re.sub(r"/(?:[^/\s'\"]+/)+", "", str(error))


def _check_kwargs(env_id: str, kwargs: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    settable = [name for name, default in config.items() if _is_settable(name, default)]
    for name, value in kwargs.items():
        place = f"kwargs.{name}"
        if name in _SET_BY and name in config:
            raise ConfigError(f"{place} {_SET_BY[name]}", place)
        if name == "frame_skip" and _family(env_id) in _REPEATING:
            raise ConfigError(f"{place} is set by action_repeat", place)
        if name not in settable:
            raise ConfigError(
                f"{env_id} has no setting {name!r} that can be given.{did_you_mean(name, settable)}"
                f" Those it has: {', '.join(sorted(settable)) or 'none'}",
                place,
            )
        if not isinstance(value, int | float | list):
            raise ConfigError(f"{place} must be a number, true or false, got {value!r}", place)


def _is_settable(name: str, default: object) -> bool:
    # Text and mappings among the settings name files and games: what clients may not choose.
    return isinstance(default, int | float | tuple) and name not in _SET_BY


def _env_seeds(seeds: Sequence[int] | None, num_slots: int) -> list[int]:
    """Return one seed per env, which are the same for the same seeds; EnvPool takes 31 bits."""
    if seeds is None:
        return [int(word >> 1) for word in np.random.SeedSequence().generate_state(num_slots)]
    return [int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1) for seed in seeds]
