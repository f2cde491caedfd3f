"""From the config to the session that is asked for, and from a refusal back to the config."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import numpy as np
from wmrun_envserver.wire.status import Reason

from wmrun.config.schema import EnvConfig
from wmrun.envs.errors import EnvCapacity, EnvRefused, EnvRequestError, EnvStartError
from wmrun.envs.opening import SessionRequest
from wmrun.envs.placement import Placement

Role = Literal["train", "eval", "video", "probe"]
"""What the environments are for; roles share neither servers nor seeds."""

_LEASE_S = 60.0
_DISTANT_LEASE_S = 120.0
"""Sessions of servers elsewhere outlast a minute without a network."""
_MAX_NAME = 256
"""Characters of a client's name, of which a server takes no more."""
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
    config: EnvConfig,
    place: Placement,
    client_id: str,
    seed: int,
    role: Role,
    times_opened: int,
    *,
    run_name: str | None = None,
) -> SessionRequest:
    """Return what `role` asks one server for when it has opened `times_opened` sessions there."""
    server, slots = place.server, place.slots
    return SessionRequest(
        task=config.task,
        num_envs=len(slots),
        client_id=f"{client_id}/{place.label}",
        client_name=_client_name(run_name, place.label),
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


def refused(
    config: EnvConfig, place: Placement, role: Role, refusal: EnvRequestError, report: str
) -> EnvStartError:
    """Turn the refusal of a session into an error that names the key; `report` is of the server.

    `EnvRefused` where asking again is of no use, `EnvCapacity` where the server is full.
    """
    if refusal.reason == Reason.ENV_FAILED:
        return EnvStartError(f"env.task {config.task}: {refusal.message}", hint=_of_env(report))
    if refusal.reason == Reason.CAPACITY:
        return _full(place, role, refusal)
    return EnvRefused(f"{_key_at_fault(config, role, refusal)}: {refusal.message}")


def _client_name(run_name: str | None, label: str) -> str:
    """Return run and role, of which the role is never cut off."""
    name = "wmrun" if run_name is None else f"wmrun {run_name}"
    return f"{name[: _MAX_NAME - len(label) - 1]} {label}"


def _full(place: Placement, role: Role, refusal: EnvRequestError) -> EnvCapacity:
    address = place.server.address
    if refusal.field == "num_envs":
        where = "" if address is None else f" (env.server.address {address})"
        return EnvCapacity(f"{_slots_key(role)}: {refusal.message}{where}")
    return EnvCapacity(
        f"env.server.address {address}: {refusal.message}",
        hint="A run takes one session to train, one to evaluate and, where the policy sees no "
        "images, one for videos. Start the server with a higher --max-sessions, or set "
        "run.eval_every=0 (no evaluations) or run.video=false (no videos).",
    )


def _slots_key(role: Role) -> str:
    return "run.eval_envs" if role == "eval" else "env.num_envs"


def _key_at_fault(config: EnvConfig, role: Role, refusal: EnvRequestError) -> str:
    task, option = f"env.task {config.task}", refusal.field.split(".")[0]
    if refusal.reason == Reason.ENV_UNKNOWN:
        return "env.task"
    if refusal.reason == Reason.TOO_LARGE and refusal.field == "num_envs":
        return _slots_key(role)
    if refusal.reason != Reason.BAD_CONFIG or refusal.field in _NO_OPTIONS:
        return task
    return f"{'env' if option in _COMMON_OPTIONS else 'env.options'}.{refusal.field}"


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
