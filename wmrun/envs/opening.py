"""What a session is asked for, and the call that opens it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import PROTOCOL_MINOR
from wmrun_envserver.wire.status import Reason

from wmrun.envs.channel import is_outage, is_timeout, meaning, unary
from wmrun.envs.errors import EnvProtocolError, EnvRequestError, EnvServerLost, EnvStartError
from wmrun.envs.exchange import DEADLINE_MARGIN_S
from wmrun.envs.spec import EnvSpec, read_spec
from wmrun.errors import EnvError

PARTIAL_BATCH = "partial_batch"
STEP_TIMEOUT = "step_timeout"
SHM = "shm"
STEP_SOCKET = "step_socket"
_TEST_FAMILIES = ("echo", "fault")
"""Of the environments that any server adds with --test-envs."""


@dataclass(frozen=True)
class SessionRequest:
    """What to open: `num_envs` slots of `task`, slot `i` seeded with `seeds[i]`.

    `client_id` stays the same over restarts of one learner: its new session replaces the old one.
    """

    task: str
    num_envs: int
    client_id: str
    options: Mapping[str, Any]
    seeds: Sequence[int] = ()
    open_timeout_s: float = 60.0
    reset_timeout_s: float = 60.0
    step_timeout_s: float = 60.0
    lease_s: float = 60.0
    client_name: str = "wmrun"
    """Who asks, for the server's log."""
    family: str | None = None
    """Of a server that was not started here: the env family that `task` is meant to be of."""
    may_share: bool = True
    """Large tensors may come in a file, from a server on a Unix socket."""


def check_family(info: messages.ServerInfo, wanted: SessionRequest, address: str) -> None:
    """Raise `EnvProtocolError` where the server lists the task as one of another family.

    Servers need not list their tasks or name families; the test environments go with any.
    """
    if wanted.family is None:
        return
    families = {env.family for env in info.envs if env.env_id == wanted.task} - {""}
    if families and not families & {wanted.family, *_TEST_FAMILIES}:
        raise EnvProtocolError(
            f"the env server at {address} serves {', '.join(sorted(families))}, env.backend says "
            f"{wanted.family}",
            hint="Set env.backend to what it serves, or env.server.address to another server.",
        )


def open_session(
    channel: grpc.Channel, wanted: SessionRequest, address: str
) -> messages.OpenSessionReply:
    """Open a session, without seeds where the environment takes none.

    Raises `EnvStartError` when it takes too long, `EnvServerLost` when the server ends,
    `EnvRequestError` when it refuses.
    """
    try:
        return _open(channel, wanted, address)
    except EnvRequestError as refusal:
        if refusal.reason != Reason.SEED_SCOPE or not wanted.seeds:
            raise
    return _open(channel, replace(wanted, seeds=()), address)


def accepted_spec(
    reply: messages.OpenSessionReply, wanted: SessionRequest, address: str
) -> EnvSpec:
    """Return the spec of a session. Raises `EnvProtocolError` if it is not what was asked for."""
    if reply.num_envs != wanted.num_envs or reply.autoreset != messages.NEXT_STEP:
        raise EnvProtocolError(
            f"the env server at {address} opened {reply.num_envs} slots with autoreset "
            f"{reply.autoreset}; {wanted.num_envs} with NEXT_STEP ({messages.NEXT_STEP}) were "
            "asked for"
        )
    try:
        return read_spec(reply)
    except ValueError as error:
        raise EnvProtocolError(
            f"the env server at {address} sent a malformed space: {error}"
        ) from error


def _open(channel: grpc.Channel, wanted: SessionRequest, address: str) -> messages.OpenSessionReply:
    request = messages.OpenSessionRequest(
        protocol_minor=PROTOCOL_MINOR,
        client_name=wanted.client_name,
        client_id=wanted.client_id,
        supersede=True,
        env_id=wanted.task,
        env_config_json=json.dumps(wanted.options),
        num_envs=wanted.num_envs,
        autoreset=messages.NEXT_STEP,
        lease_ms=round(wanted.lease_s * 1000),
        step_timeout_ms=round(wanted.step_timeout_s * 1000),
        reset_timeout_ms=round(wanted.reset_timeout_s * 1000),
        want_capabilities=_wanted_capabilities(wanted, address),
        seeds=wanted.seeds,
    )
    deadline_s = wanted.open_timeout_s + DEADLINE_MARGIN_S
    try:
        reply: messages.OpenSessionReply = unary(channel, "OpenSession")(
            request, timeout=deadline_s
        )
    except grpc.RpcError as error:
        raise _open_error(error, wanted, address) from None
    if SHM in reply.capabilities and SHM not in request.want_capabilities:
        raise EnvProtocolError(
            f"the env server at {address} names the file {reply.shm_path!r} for its observations, "
            "which it was not asked for"
        )
    is_wanted = STEP_SOCKET in request.want_capabilities
    name = Path(reply.step_socket).name if is_wanted else ""
    if name != reply.step_socket or (not name and STEP_SOCKET in reply.capabilities):
        raise EnvProtocolError(
            f"the env server at {address} names the step socket {reply.step_socket!r}; expected "
            "the name of a socket beside its own, where it was asked for one"
        )
    return reply


def _wanted_capabilities(wanted: SessionRequest, address: str) -> list[str]:
    names = [PARTIAL_BATCH, STEP_TIMEOUT]
    if address.startswith("unix:"):
        names.append(STEP_SOCKET)
        if wanted.may_share:
            names.append(SHM)
    return names


def _open_error(error: grpc.RpcError, wanted: SessionRequest, address: str) -> EnvError:
    what = f"{wanted.num_envs} x {wanted.task}"
    if is_timeout(error):
        return EnvStartError(
            f"opening {what} at {address} took longer than {wanted.open_timeout_s:g} s "
            "(env.server.start_timeout_s)"
        )
    if is_outage(error):
        return EnvServerLost(f"the env server ended while it opened {what}: {error.details()}")
    return meaning(error)
