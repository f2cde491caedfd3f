"""One agent in a world of a dm_env_rpc server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2

from wmrun_envserver.backends.base import ConfigError, Env, StepResult
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.dm_env_rpc import DmEnvRpcOptions, RemoteWorld
from wmrun_envserver.backends.dm_env_rpc_connection import Connection, RemoteRefusal
from wmrun_envserver.backends.dm_env_rpc_specs import (
    Actions,
    Observations,
    pack_number,
    pack_settings,
)

_LOG = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 5.0
_RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
_TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
_INTERRUPTED = dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED


class DmEnvRpcEnv(Env):
    """Steps a remote environment by the protocol's rules for sequences.

    A Step outside RUNNING begins a sequence and carries no actions; one that ends in TERMINATED has
    terminated, unless a discount observation above 0 says that it only ran out of time (as dm_env
    has it), and one that ends in INTERRUPTED was truncated. A Reset is sent only to leave a
    sequence that is running, or with a seed.
    """

    def __init__(self, remote: RemoteWorld, options: DmEnvRpcOptions) -> None:
        """Connect, create a world where `remote` names none, and join.

        Raises `ConnectionError`, `TimeoutError`, or `ConfigError` where the server refuses the
        settings or has specs that cannot be served.
        """
        self._options = options
        self._state = _TERMINATED
        self._created: str | None = None
        self._joined = False
        self._connection = Connection(remote, options.timeout_s)
        try:
            self._join(remote)
            self._read_specs()
        except BaseException:
            self.close()
            raise

    def reset(self, seed: int | None) -> StepResult:
        if seed is not None or self._state == _RUNNING:
            self._interrupt(seed)
        before, response = self._state, self._step({})
        if response.state != _RUNNING:
            raise RuntimeError(
                f"the dm_env_rpc server went from {_name(before)} to {_name(response.state)}: "
                "a sequence begins in RUNNING"
            )
        return StepResult(
            self._observations.leaves(self._observations.unpack(response.observations))
        )

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        response = self._step(self._actions.pack(action))
        values = self._observations.unpack(response.observations)
        discount = _number(values, self._discount)
        terminated = response.state == _TERMINATED and not discount
        return StepResult(
            self._observations.leaves(values),
            reward=_number(values, self._reward) or 0.0,
            terminated=terminated,
            truncated=response.state != _RUNNING and not terminated,
            info={} if discount is None else {"discount": discount},
        )

    def close(self) -> None:
        """Leave the world, destroy it where it was created here, and disconnect."""
        try:
            if self._joined:
                self._connection.send(dm_env_rpc_pb2.LeaveWorldRequest(), _CLOSE_TIMEOUT_S)
            if self._created is not None:
                request = dm_env_rpc_pb2.DestroyWorldRequest(world_name=self._created)
                self._connection.send(request, _CLOSE_TIMEOUT_S)
        except (RemoteRefusal, ConnectionError, TimeoutError) as error:
            _LOG.warning("leaving a world: %s", error)
        finally:
            self._connection.close()

    def _join(self, remote: RemoteWorld) -> None:
        world = remote.world
        if world is None:
            settings = pack_settings(self._options.create_settings, "create_settings")
            create = dm_env_rpc_pb2.CreateWorldRequest(settings=settings)
            world = self._created = self._asked(create, "create_settings").world_name
        settings = pack_settings(self._options.join_settings, "join_settings")
        join = dm_env_rpc_pb2.JoinWorldRequest(world_name=world, settings=settings)
        self._specs = self._asked(join, "join_settings").specs
        self._joined = True

    def _asked(self, request: Any, field: str) -> Any:
        try:
            return self._connection.send(request)
        except RemoteRefusal as error:
            raise ConfigError(str(error), field) from error

    def _read_specs(self) -> None:
        specs = {spec.name: spec for spec in self._specs.observations.values()}
        for kind, found in (("action", self._specs.actions), ("observation", specs)):
            if not found:
                raise ConfigError(f"the dm_env_rpc server has no {kind}")
        options = self._options
        self._reward = _signal(options.reward_observation, "reward", specs)
        self._discount = _signal(options.discount_observation, "discount", specs)
        if self._reward is None:
            _LOG.warning("there is no reward observation: every reward is 0")
        signals = [name for name in (self._reward, self._discount) if name is not None]
        chosen = options.observations
        if chosen is None:
            chosen = tuple(name for name in specs if name not in signals)
        for name in chosen:
            _check_known(name, specs, "observations")
        self._observations = Observations(self._specs.observations, chosen, signals)
        self._actions = Actions(self._specs.actions)
        self.observation_space = self._observations.space
        self.action_space = self._actions.space

    def _interrupt(self, seed: int | None) -> None:
        settings = {}
        if seed is not None:
            assert self._options.seed_setting is not None
            dtype = self._options.seed_dtype
            # What the dtype cannot hold is taken modulo its largest value plus 1.
            folded = seed % (int(np.iinfo(dtype).max) + 1)
            settings[self._options.seed_setting] = pack_number(folded, dtype)
        response = self._connection.send(dm_env_rpc_pb2.ResetRequest(settings=settings))
        if response.specs != self._specs:
            raise RuntimeError("the dm_env_rpc server changed its specs at a Reset")
        self._state = _INTERRUPTED

    def _step(self, actions: Any) -> Any:
        request = dm_env_rpc_pb2.StepRequest(
            requested_observations=self._observations.uids, actions=actions
        )
        response = self._connection.send(request)
        if response.state not in (_RUNNING, _TERMINATED, _INTERRUPTED):
            raise RuntimeError(f"the dm_env_rpc server is in the state {_name(response.state)}")
        self._state = response.state
        return response


def _signal(option: str | None, usual: str, specs: Any) -> str | None:
    """Return the name of the reward or discount observation, None where there is none."""
    if option is None:
        return usual if usual in specs else None
    if option == "":
        return None
    _check_known(option, specs, f"{usual}_observation")
    return option


def _check_known(name: str, specs: Any, field: str) -> None:
    if name not in specs:
        raise ConfigError(
            f"the dm_env_rpc server has no observation {name!r}.{did_you_mean(name, specs)} "
            f"It has: {', '.join(sorted(specs))}",
            field,
        )


def _number(values: Any, name: str | None) -> float | None:
    return None if name is None else float(np.asarray(values[name], np.float64).item())


def _name(state: int) -> str:
    names = {number: name for name, number in dm_env_rpc_pb2.EnvironmentStateType.items()}
    return names.get(state, str(state))
