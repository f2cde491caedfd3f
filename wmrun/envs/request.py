"""From the config to the session that is asked for, and from a refusal back to the config."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import numpy as np
from wmrun_envserver.wire.status import Reason

from wmrun.config.schema import EnvConfig
from wmrun.envs.errors import EnvRequestError, EnvStartError
from wmrun.envs.opening import SessionRequest
from wmrun.envs.placement import Placement

Role = Literal["train", "eval", "video", "probe"]
"""What the environments are for; roles share neither servers nor seeds."""

_LEASE_S = 60.0
_DISTANT_LEASE_S = 120.0
"""Sessions of servers elsewhere outlast a minute without a network."""
_COMMON_OPTIONS = (
    "action_repeat",
    "time_limit",
    "image",
    "vector",
    "normalize_actions",
    "clip_actions",
)
_NO_OPTIONS = ("env_config_json", "env_id")
"""Fields of the request that a refusal names where no option is at fault."""
_FRAME = re.compile(r'\s*File "(?P<file>.*)", line \d+')
_IN_FRAME = " " * 6
"""What the lines below a frame's first begin with, in a log that is indented by two spaces."""


def session_request(
    config: EnvConfig, place: Placement, client_id: str, seed: int, role: Role, times_opened: int
) -> SessionRequest:
    """Return what `role` asks one server for when it has opened `times_opened` sessions there."""
    server, slots = place.server, place.slots
    return SessionRequest(
        task=config.task,
        num_envs=len(slots),
        client_id=f"{client_id}/{place.label}",
        options=env_options(config),
        seeds=slot_seeds(seed, role, times_opened, slots.stop)[slots.start :],
        family=None if server.address is None else config.backend,
        lease_s=_LEASE_S if server.address is None else _DISTANT_LEASE_S,
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
        return EnvStartError(f"env.task {config.task}: {refusal.message}", hint=_of_env(report))
    option = refusal.field.split(".")[0]
    keys = {
        Reason.ENV_UNKNOWN: "env.task",
        Reason.CAPACITY: "env.num_envs",
        Reason.BAD_CONFIG: "env" if option in _COMMON_OPTIONS else "env.options",
    }
    place = keys.get(refusal.reason, f"env.task {config.task}")
    if refusal.reason == Reason.BAD_CONFIG and refusal.field in _NO_OPTIONS:
        place = f"env.task {config.task}"
    elif refusal.reason == Reason.BAD_CONFIG:
        place = f"{place}.{refusal.field}"
    return EnvStartError(f"{place}: {refusal.message}")


def _of_env(report: str) -> str:
    """Return `report`, which ends with indented log lines, without frames of the server's code."""
    kept: list[str] = []
    is_ours = True  # so are those deepest down at the log's top, whose first line is cut off
    for line in report.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            is_ours = "/wmrun_envserver/" in frame["file"]
        elif not line.startswith(_IN_FRAME):
            is_ours = is_ours and not kept
            kept.append(line)
            continue
        if not is_ours:
            kept.append(line)
    return "\n".join(kept)
