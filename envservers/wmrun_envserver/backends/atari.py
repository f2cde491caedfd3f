"""Atari 2600 games of the Arcade Learning Environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wmrun_envserver.backends.base import Backend, Env, EnvFamily, EnvTraits, UnknownEnvError
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, ImageOptions, OptionReader

EPISODE_FRAMES = 108_000
"""Half an hour of play at 60 Hz, where an episode is cut off (Machado et al. 2018, section 4.2)."""


@dataclass(frozen=True)
class AtariOptions:
    """Defaults are those of Dreamer V2; ALE's, Gymnasium's and EnvPool's options keep their names.

    `image`, where neither it nor the RAM is asked for, is 64 x 64 and gray. `resize` is "area", the
    mean of the screen under each pixel, or "bilinear", a triangle filter. `pooled_frames` is how
    many of the last frames of an action are max-pooled. A reset plays 1 to `noop_max` no-ops.
    """

    action_repeat: int
    time_limit: int
    image: ImageOptions | None
    ram: bool
    resize: str
    pooled_frames: int
    repeat_action_probability: float
    noop_max: int
    full_action_space: bool
    terminal_on_life_loss: bool
    mode: int | None
    difficulty: int | None

    @staticmethod
    def read(config: Mapping[str, Any]) -> AtariOptions:
        reader = OptionReader(config)
        common = CommonOptions.read(reader)
        ram = reader.flag("vector", False)
        image = common.image
        if image is None and not ram:
            image = ImageOptions(grayscale=True)
        if image is not None and image.camera is not None:
            raise OptionReader({}, "image").wrong(
                "camera", "must be left out: a game has one view", image.camera
            )
        options = AtariOptions(
            action_repeat=common.action_repeat,
            time_limit=common.time_limit or EPISODE_FRAMES,
            image=image,
            ram=ram,
            resize=reader.choice("resize", ("area", "bilinear")),
            pooled_frames=reader.integer("pooled_frames", 2),
            repeat_action_probability=_probability(reader, "repeat_action_probability", 0.25),
            noop_max=reader.integer("noop_max", 30, low=0),
            full_action_space=reader.flag("full_action_space", False),
            terminal_on_life_loss=reader.flag("terminal_on_life_loss", False),
            mode=reader.integer("mode", None, low=0),
            difficulty=reader.integer("difficulty", None, low=0),
        )
        reader.finish()
        return options


class AtariBackend(Backend):
    """Offers the games under the names of their ROMs, such as "pong" and "ms_pacman"."""

    def __init__(self) -> None:
        from wmrun_envserver.backends import atari_env  # only now may ale_py be imported

        self._module = atari_env
        self._games = atari_env.games()

    def family(self) -> EnvFamily:
        return EnvFamily("atari", self._games)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        if env_id not in self._games:
            raise UnknownEnvError(
                f"ALE has no game {env_id!r}.{did_you_mean(_rom_name(env_id), self._games)}"
            )
        options = AtariOptions.read(config)
        return EnvTraits(
            max_episode_steps=-(-options.time_limit // options.action_repeat),
            render_modes=("rgb_array",),
            any_thread=True,
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        return self._module.AtariEnv(env_id, AtariOptions.read(config))


def _probability(reader: OptionReader, name: str, default: float) -> float:
    value = reader.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise reader.wrong(name, "must be a probability from 0 to 1", value)
    return float(value)


def _rom_name(env_id: str) -> str:
    """Return the name that Gymnasium's or EnvPool's id of a game stands for, else `env_id`."""
    game = re.sub(r"^ALE/|(NoFrameskip|Deterministic)?-v\d+$", "", env_id)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", game)
