"""What a session's simulators are made from, in the server process or in a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from wmrun_envserver.backends.base import AnyBackend, Env, VectorBackend, VectorEnv
from wmrun_envserver.server.env_host import EnvHost
from wmrun_envserver.server.hosts import Spec
from wmrun_envserver.server.vector_host import VectorHost

LocalHost = EnvHost | VectorHost


@dataclass(frozen=True)
class Plan:
    """One env id and config, checked by `prepare`, and how its slots are to be made."""

    env_id: str
    config: Mapping[str, Any]
    slots_per_simulator: int
    partial: bool = False
    render: bool = False
    seeds_at_build: bool = False
    debug: bool = False

    def to_json(self) -> str:
        """Return the plan as text from which `from_json` makes it again."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Plan:
        """Return the plan that `text` was taken from."""
        return Plan(**json.loads(text))


def local_host(
    backend: AnyBackend, plan: Plan, spec: Spec, building: AbstractContextManager[Any]
) -> LocalHost:
    """Return a host, yet without simulators, that keeps them in this process.

    `building` is held while one is built.
    """
    if isinstance(backend, VectorBackend):
        return _vector_host(backend, plan, spec, building)

    def make() -> Env:
        with building:
            if plan.render:
                return backend.make(plan.env_id, plan.config, render=True)
            return backend.make(plan.env_id, plan.config)

    return EnvHost(make, spec, debug=plan.debug)


def _vector_host(
    backend: VectorBackend, plan: Plan, spec: Spec, building: AbstractContextManager[Any]
) -> VectorHost:
    def make(num_slots: int, seeds: list[int] | None) -> VectorEnv:
        with building:
            return backend.make_vector(
                plan.env_id,
                plan.config,
                num_slots,
                seeds=seeds,
                partial=plan.partial,
                render=plan.render,
            )

    return VectorHost(
        make,
        spec,
        plan.slots_per_simulator,
        partial=plan.partial,
        seeds_at_build=plan.seeds_at_build,
        debug=plan.debug,
    )
