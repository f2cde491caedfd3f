"""Environments of dm_env_rpc servers, each slot a connection of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wmrun_envserver.backends.base import (
    Backend,
    ConfigError,
    Env,
    EnvFamily,
    EnvTraits,
    SourceError,
    UnknownEnvError,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, OptionReader
from wmrun_envserver.backends.stack import wrapped
from wmrun_envserver.wire import spaces

_SOURCE = re.compile(
    r"(?P<tls>tls://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\[\]\s]+):(?P<port>\d{1,5})(?:/(?P<world>.*))?"
)
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]")
_TIMEOUT_S = 60
SEED_DTYPES = ("int64", "int32", "uint32", "uint64")


@dataclass(frozen=True)
class RemoteWorld:
    """Where a dm_env_rpc server listens, and which of its worlds to join."""

    address: str
    """HOST:PORT."""
    world: str | None
    """The world that is there; "" for one without a name, None to create one."""
    tls: bool
    loopback: bool

    @staticmethod
    def parse(source: str) -> RemoteWorld:
        """Return what `[tls://]HOST:PORT[/WORLD]` says; raises `ValueError` with what is wrong."""
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise ValueError("expected [tls://]HOST:PORT[/WORLD], such as 127.0.0.1:9911")
        if not 1 <= int(match["port"]) <= 65535:
            raise ValueError(f"port {match['port']} is not one of 1 to 65535")
        return RemoteWorld(
            address=f"{match['host']}:{match['port']}",
            world=match["world"],
            tls=match["tls"] is not None,
            loopback=_LOOPBACK.fullmatch(match["host"]) is not None,
        )


@dataclass(frozen=True)
class DmEnvRpcOptions:
    """What is asked of the remote server, and what its tensors mean.

    `settings` go with CreateWorld and JoinWorld, `create_settings` and `join_settings` with one of
    them. `observations` names those to request; None: all. `reward_observation` and
    `discount_observation` are None where the usual names are meant if they are there, and "" for
    none. Seeds are sent with Reset as the setting `seed_setting`. `timeout_s` bounds every request.
    """

    common: CommonOptions
    create_settings: Mapping[str, Any]
    join_settings: Mapping[str, Any]
    observations: tuple[str, ...] | None
    reward_observation: str | None
    discount_observation: str | None
    seed_setting: str | None
    seed_dtype: str
    timeout_s: int

    @staticmethod
    def read(config: Mapping[str, Any]) -> DmEnvRpcOptions:
        reader = OptionReader(config)
        both = reader.mapping("settings") or {}
        options = DmEnvRpcOptions(
            common=CommonOptions.read(reader),
            create_settings={**both, **(reader.mapping("create_settings") or {})},
            join_settings={**both, **(reader.mapping("join_settings") or {})},
            observations=_names(reader, "observations"),
            reward_observation=reader.text("reward_observation", None),
            discount_observation=reader.text("discount_observation", None),
            seed_setting=reader.text("seed_setting", None),
            seed_dtype=reader.choice("seed_dtype", SEED_DTYPES),
            timeout_s=reader.integer("timeout_s", _TIMEOUT_S),
        )
        reader.finish()
        image = options.common.image
        if image is not None and image.camera is not None:
            raise ConfigError(
                "cameras are the remote server's: leave image.camera out", "image.camera"
            )
        return options


class DmEnvRpcBackend(Backend):
    """Offers what `offer` names: servers that run already. Clients choose no addresses."""

    def __init__(self) -> None:
        from wmrun_envserver.backends import dm_env_rpc_env  # imports dm_env_rpc

        self._module = dm_env_rpc_env
        self._offered: dict[str, RemoteWorld] = {}

    def family(self) -> EnvFamily:
        return EnvFamily("dm_env_rpc", tuple(self._offered))

    def offer(self, env_id: str, source: str) -> None:
        """Offer the server at `[tls://]HOST:PORT[/WORLD]`.

        With WORLD every slot joins that world, with "/" alone one without a name; otherwise every
        slot creates a world of its own and destroys it at its end. Raises `SourceError`.
        """
        try:
            self._offered[env_id] = RemoteWorld.parse(source)
        except ValueError as error:
            raise SourceError(f"--env {env_id}={source}: {error}") from None

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        remote = self._remote(env_id)
        options = DmEnvRpcOptions.read(config)
        if remote.world is not None and config.get("create_settings"):
            raise ConfigError(
                f"{env_id} joins a world that is there: use join_settings", "create_settings"
            )
        return EnvTraits(
            max_episode_steps=options.common.episode_steps(None),
            deterministic=options.seed_setting is not None,
            seed_scope="none" if options.seed_setting is None else "reset",
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        options = DmEnvRpcOptions.read(config)
        env = self._module.DmEnvRpcEnv(self._remote(env_id), options)
        if options.common.image is not None and not _has_image(env):
            env.close()
            raise ConfigError(
                f"{env_id} has no observation 'image' of uint8 [H, W, 1 or 3]: leave image out",
                "image",
            )
        return wrapped(env, options.common)

    def _remote(self, env_id: str) -> RemoteWorld:
        if env_id not in self._offered:
            advice = did_you_mean(env_id, self._offered)
            if not self._offered:
                advice = f" Start the server with --env {env_id}=HOST:PORT"
            raise UnknownEnvError(f"unknown env id {env_id!r}.{advice}")
        return self._offered[env_id]


def _names(reader: OptionReader, option: str) -> tuple[str, ...] | None:
    value = reader.get(option)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise reader.wrong(option, "must be a list of names", value)
    return tuple(value)


def _has_image(env: Env) -> bool:
    return any(
        leaf.path == "image" and leaf.space.role == "IMAGE_HWC"
        for leaf in spaces.leaves(env.observation_space)
    )
