"""Scenes of the Unity ML-Agents Toolkit: executables, and the Editor."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from wmrun_envserver.backends.base import (
    EnvFamily,
    EnvTraits,
    SourceError,
    UnknownEnvError,
    VectorBackend,
    VectorEnv,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.unity_options import UnityOptions
from wmrun_envserver.backends.unity_source import EDITOR, PlayerSource

# The player takes its seed as a C# int.
_SEEDS = 2**31


class UnityBackend(VectorBackend):
    """Offers the players of the command line, and "editor": what plays in a Unity Editor here."""

    def __init__(self) -> None:
        self._sources = {EDITOR: PlayerSource()}
        self._module = _scene_module()

    def family(self) -> EnvFamily:
        return EnvFamily("unity_mlagents", tuple(self._sources))

    def offer(self, env_id: str, source: str) -> None:
        """Offer the player `source`, "PATH [ARGUMENT …]"."""
        if env_id == EDITOR:
            raise SourceError(f"--env {env_id}={source}: the id {EDITOR!r} is that of the Editor")
        self._sources[env_id] = PlayerSource.parse(env_id, source)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        """The traits hold for the agents; `max_episode_steps` is known only of the option."""
        if env_id not in self._sources:
            raise UnknownEnvError(
                f"this server has no Unity player {env_id!r}.{did_you_mean(env_id, self._sources)} "
                f"It offers {', '.join(self._sources)}; others are named when it is started: "
                f"--env {env_id}=PATH_OF_THE_PLAYER"
            )
        options = UnityOptions.read(config)
        return EnvTraits(
            max_episode_steps=options.common.episode_steps(None),
            deterministic=False,
            seed_scope="session",
            slots_per_simulator=options.agents,
            resets_together=True,
            isolate=True,
        )

    def make_vector(
        self,
        env_id: str,
        config: Mapping[str, Any],
        num_slots: int,
        *,
        seeds: Sequence[int] | None = None,
        partial: bool = False,
        render: bool = False,
    ) -> VectorEnv:
        """Start one player; its seed is that of its first slot, modulo 2^31."""
        scene: VectorEnv = self._module.UnityScene(
            self._sources[env_id],
            UnityOptions.read(config),
            num_slots,
            seed=seeds[0] % _SEEDS if seeds else secrets.randbelow(_SEEDS),
            partial=partial,
        )
        return scene


def _scene_module() -> ModuleType:
    from wmrun_envserver.backends import unity_shim

    try:
        unity_shim.install()
        from wmrun_envserver.backends import unity_scene  # only now may mlagents_envs be imported
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlagents_envs":
            raise
        raise ImportError(
            f"{error}. It needs a virtual environment of its own: python envservers/unity/build.py "
            "makes .venvs/unity, whose bin/python then runs this server (env.server.python)"
        ) from None
    return unity_scene
