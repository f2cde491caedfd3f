"""EnvPool's threaded batches: every slot of a session is an env of one pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wmrun_envserver.backends.base import (
    ConfigError,
    EnvFamily,
    EnvTraits,
    UnknownEnvError,
    VectorBackend,
    VectorEnv,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, OptionReader

if TYPE_CHECKING:
    from wmrun_envserver.backends.envpool_task import Task


@dataclass(frozen=True)
class EnvPoolOptions:
    """`num_threads` step the envs, 0: one per core. `kwargs` are settings of the pool's config."""

    common: CommonOptions
    num_threads: int
    kwargs: Mapping[str, Any]

    @staticmethod
    def read(config: Mapping[str, Any]) -> EnvPoolOptions:
        reader = OptionReader(config)
        options = EnvPoolOptions(
            common=CommonOptions.read(reader),
            num_threads=reader.integer("num_threads", 0, low=0),
            kwargs=reader.mapping("kwargs") or {},
        )
        reader.finish()
        image = options.common.image
        if image is not None and image.camera is not None:
            raise ConfigError("EnvPool has one view: leave image.camera out", "image.camera")
        return options


class EnvPoolBackend(VectorBackend):
    """Offers what `envpool.list_all_envs()` names, such as "CartPole-v1" and "WalkerWalk-v1"."""

    def __init__(self) -> None:
        from wmrun_envserver.backends import envpool_task  # only now may envpool be imported

        self._module = envpool_task

    def family(self) -> EnvFamily:
        return EnvFamily("envpool", self._module.ENV_IDS)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return self._task(env_id, config).traits

    def listed(self, env_id: str) -> EnvTraits:
        return self._module.listed(env_id)

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
        return self._task(env_id, config).make(num_slots, seeds, render=render)

    def _task(self, env_id: str, config: Mapping[str, Any]) -> Task:
        ids = self._module.ENV_IDS
        if env_id not in ids:
            raise UnknownEnvError(f"EnvPool has no env {env_id!r}.{did_you_mean(env_id, ids)}")
        return self._module.Task(env_id, EnvPoolOptions.read(config))
