"""From the config to the session that is asked for, and from a refusal back to the config."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from wmrun_envserver.wire.status import Reason

from wmrun.config.schema import EnvConfig
from wmrun.envs.client import SessionRequest
from wmrun.envs.errors import EnvRequestError, EnvStartError

Role = Literal["train", "eval", "video", "probe"]
"""What the environments are for; roles share neither servers nor seeds."""

_COMMON_OPTIONS = (
    "action_repeat",
    "time_limit",
    "image",
    "vector",
    "normalize_actions",
    "clip_actions",
)


def session_request(
    config: EnvConfig, client_id: str, seed: int, role: Role, times_opened: int
) -> SessionRequest:
    """Return what `role` asks for when it has opened `times_opened` sessions before."""
    server = config.server
    return SessionRequest(
        task=config.task,
        num_envs=config.num_envs,
        client_id=f"{client_id}/{role}",
        options=env_options(config),
        seeds=slot_seeds(seed, role, times_opened, config.num_envs),
        open_timeout_s=server.start_timeout_s,
        reset_timeout_s=server.reset_timeout_s,
        step_timeout_s=server.step_timeout_s,
    )


def env_options(config: EnvConfig) -> dict[str, Any]:
    """Return what the server gets: the family's options and the common ones not at default."""
    common = config.model_dump(mode="json", include=set(_COMMON_OPTIONS))
    fields = type(config).model_fields
    set_here = {key: value for key, value in common.items() if value != fields[key].default}
    return {**set_here, **config.options}


def slot_seeds(seed: int, role: Role, times_opened: int, num_envs: int) -> list[int]:
    """Return one 32-bit seed per slot; each role and each opening of a session has its own."""
    sequence = np.random.SeedSequence(seed, spawn_key=(get_args(Role).index(role), times_opened))
    return [int(word) for word in sequence.generate_state(num_envs)]


def refused(config: EnvConfig, refusal: EnvRequestError, report: str) -> EnvStartError:
    """Turn the refusal of a session into an error that names the key; `report` is of the server."""
    if refusal.reason == Reason.ENV_FAILED:
        return EnvStartError(f"env.task {config.task}: {refusal.message}", hint=report)
    option = refusal.field.split(".")[0]
    keys = {
        Reason.ENV_UNKNOWN: "env.task",
        Reason.CAPACITY: "env.num_envs",
        Reason.BAD_CONFIG: "env" if option in _COMMON_OPTIONS else "env.options",
    }
    place = keys.get(refusal.reason, f"env.task {config.task}")
    if refusal.reason == Reason.BAD_CONFIG:
        place = f"{place}.{refusal.field}"
    return EnvStartError(f"{place}: {refusal.message}")
