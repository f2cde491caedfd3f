"""Checks 1 to 6: health, identity, versions, spaces, env ids, capacity."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import grpc

from wmrun_envserver.conformance.check import Unmet, check, equal, require
from wmrun_envserver.conformance.peer import Peer, refusal, told
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session, leaves_of
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import METHODS, PROTOCOL_MAJOR, SERVICE

# Field 1000, length-delimited: from a version of the protocol that does not exist yet.
_UNKNOWN_FIELD = b"\xc2\x3e\x05later"
_MAX_SESSIONS_TRIED = 64
_MIN_SESSION_ID = 22
"""Characters that 128 bits take in base64."""


@check(1, "health")
def health(run: Run) -> None:
    """grpc.health.v1.Health says SERVING for "" and for the service, NOT_FOUND for any other."""
    for service in ("", SERVICE):
        try:
            equal(f"Health/Check({service!r})", run.peer.health(service), "SERVING")
        except grpc.RpcError as error:
            raise Unmet(f"Health/Check({service!r})", "SERVING", told(error)) from None
    try:
        status = run.peer.health("no.such.Service")
    except grpc.RpcError as error:
        refusal("Health/Check('no.such.Service')", error, "NOT_FOUND")
        return
    raise Unmet("Health/Check('no.such.Service')", "NOT_FOUND", status)


@check(2, "instance-id", needs="--launch for the restart")
def instance_id(run: Run) -> None:
    """`instance_id` stays the same while the process lives and changes with a restart."""
    info = run.peer.info()
    equal("ServerInfo.protocol_major", info.protocol_major, PROTOCOL_MAJOR)
    require(bool(info.instance_id), "ServerInfo.instance_id", "a random value", "empty")
    equal("ServerInfo.instance_id, asked again", run.peer.info().instance_id, info.instance_id)
    opened = run.open(run.light(), num_envs=1).opened
    equal("OpenSessionReply.instance_id", opened.instance_id, info.instance_id)
    with run.part("restart"):
        server = run.launched()
        first = run.connect(server.target).info().instance_id
        server.end()
        server.start(run.deadline)
        second = run.connect(server.target).info().instance_id
        require(
            first != second and info.instance_id not in (first, second),
            "ServerInfo.instance_id after a restart",
            f"another one than {first!r}",
            repr(second),
        )


@check(3, "versions")
def versions(run: Run) -> None:
    """Minors differ: the lower one is spoken; unknown fields are ignored; no zero enum is taken."""
    minor = run.peer.info().protocol_minor
    subject = run.subject
    for client_minor in (minor + 7, max(0, minor - 1)):
        opened = run.open(subject, protocol_minor=client_minor).opened
        expected = min(minor, client_minor)
        where = f"OpenSessionReply.protocol_minor for a client of minor {client_minor}"
        equal(where, opened.protocol_minor, expected)
    session = run.open(subject)
    _send_with_unknown_field(run.peer, "GetServerInfo", messages.GetServerInfoRequest())
    reply = _send_with_unknown_field(run.peer, "Reset", session.resetting())
    session.accept("Reset", reply)
    _send_with_unknown_field(run.peer, "Step", session.stepping())
    opening = run.opening(subject)
    reply = _send_with_unknown_field(run.peer, "OpenSession", opening)
    Session(run.peer, reply).close()
    for autoreset in (messages.AUTORESET_UNSPECIFIED, 77):
        opening.autoreset = autoreset  # type: ignore[assignment]
        about = f"autoreset {autoreset}"
        run.peer.refused(
            "OpenSession", opening, "INVALID_ARGUMENT", reason="BAD_REQUEST", about=about
        )


@check(4, "specs")
def specs(run: Run) -> None:
    """OpenSession describes decodable spaces with unique paths, bounds in order and their hash."""
    for choice in run.subjects(every_space=True):
        first, second = (run.open(choice) for _ in range(2))
        _check_opened(run, choice, first)
        require(first.id != second.id, "session_id of two sessions", "two values", "the same")
        for name in ("spec_hash", "observation_space", "action_space"):
            values = (getattr(session.opened, name) for session in (first, second))
            equal(f"{choice.env_id}: {name} of two sessions with one config", *values)


@check(5, "env-id-and-config")
def env_id_and_config(run: Run) -> None:
    """Unknown env ids, ids that name modules and wrong configs are refused by name."""
    subject = run.subject
    for env_id in ("no-such-env-1b7d", "os:system", "gymnasium.envs:CartPole-v1", ""):
        request = run.opening(subject, env_id=env_id)
        about = f"env_id {env_id!r}"
        run.peer.refused("OpenSession", request, "NOT_FOUND", reason="ENV_UNKNOWN", about=about)
    unknown = {**subject.config, "no_such_option_1b7d": 1}
    _refuse_config(run, json.dumps(unknown), field="no_such_option_1b7d")
    texts = ("{", "[]", "1", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 30_000, " " * 70_000 + "{}")
    for text in texts:
        _refuse_config(run, text)
    run.open(subject)


@check(6, "capacity")
def capacity(run: Run) -> None:
    """Too many or no slots are refused, and no refusal keeps a slot or a session."""
    light = run.light()
    limits = run.peer.info().limits
    free = limits.free_sessions
    most = limits.max_envs_per_session
    for _ in range(3):
        _refuse_size(run, light, 0, "INVALID_ARGUMENT")
        _refuse_size(run, light, most + 1, "RESOURCE_EXHAUSTED")
        _refuse_size(run, light, 2**32 - 1, "RESOURCE_EXHAUSTED")
        broken = run.opening(light, num_envs=most, env_config_json='{"no_such_option_1b7d": 1}')
        run.peer.refused("OpenSession", broken, "INVALID_ARGUMENT", about="all slots, wrong config")
    equal("Limits.free_sessions after refusals", run.peer.info().limits.free_sessions, free)
    if run.has_echo:
        for _ in range(2):
            session = run.open(light, num_envs=most)
            equal("OpenSessionReply.num_envs", session.num_envs, most)
            session.close()
    else:
        run.omit("all slots in one session", "needs the test env echo")
    _fill_sessions(run, light, free)


def _send_with_unknown_field(peer: Peer, name: str, request: Any) -> Any:
    method = METHODS[name]
    try:
        data = peer.raw(method.path, request.SerializeToString() + _UNKNOWN_FIELD)
    except grpc.RpcError as error:
        raise Unmet(f"{name} with a field that is unknown", "OK", told(error)) from None
    return method.reply.FromString(data)


def _check_opened(run: Run, choice: Choice, session: Session) -> None:
    opened, where = session.opened, f"{choice.env_id}: OpenSessionReply"
    for name in ("observation_space", "action_space"):
        paths = [leaf.path for leaf in leaves_of(getattr(opened, name), name)]
        equal(f"{where}.{name}, leaf paths", len(set(paths)), len(paths))
    digest = sha256()
    for space in (opened.observation_space, opened.action_space):
        digest.update(space.SerializeToString(deterministic=True))
    equal(f"{where}.spec_hash", opened.spec_hash, digest.hexdigest())
    equal(f"{where}.num_envs", opened.num_envs, run.settings.num_envs)
    equal(f"{where}.autoreset", opened.autoreset, messages.NEXT_STEP)
    low, high = opened.reward_low, opened.reward_high
    require(low <= high, f"{where}.reward_low", f"at most reward_high, {high}", low)
    require(
        opened.seed_scope
        in (messages.SEED_PER_RESET, messages.SEED_PER_SESSION, messages.SEED_NONE),
        f"{where}.seed_scope",
        "PER_RESET, PER_SESSION or NONE",
        opened.seed_scope,
    )
    size = len(opened.session_id)
    require(
        size >= _MIN_SESSION_ID, f"{where}.session_id", "at least 128 bits", f"{size} characters"
    )
    limits = run.peer.info().limits
    shortest, longest = limits.min_lease_ms, limits.max_lease_ms
    require(
        shortest <= opened.lease_ms <= longest,
        f"{where}.lease_ms",
        f"from {shortest} to {longest} ms",
        opened.lease_ms,
    )
    equal(f"{where}.max_message_bytes", opened.max_message_bytes, limits.max_message_bytes)


def _refuse_config(run: Run, text: str, field: str | None = None) -> None:
    request = run.opening(run.subject, env_config_json=text)
    about = f"env_config_json {text[:40]!r}"
    code = "INVALID_ARGUMENT"
    detail = run.peer.refused("OpenSession", request, code, reason="BAD_CONFIG", about=about)
    if field is None:
        where = f"OpenSession, {about}, ErrorDetail.field"
        require(bool(detail.field), where, "what is wrong", "empty")
    else:
        where = f"OpenSession, {about}, ErrorDetail.field"
        equal(where, detail.field, field)


def _refuse_size(run: Run, choice: Choice, num_envs: int, code: str) -> None:
    request = run.opening(choice, num_envs=num_envs)
    field = "num_envs"
    run.peer.refused("OpenSession", request, code, field=field, about=f"num_envs {num_envs}")


def _fill_sessions(run: Run, light: Choice, free: int) -> None:
    if free > _MAX_SESSIONS_TRIED or not (run.has_echo or free <= 8):
        run.omit("every session", f"{free} sessions are free")
        return
    sessions = [run.open(light, num_envs=1) for _ in range(free)]
    one_more = run.opening(light, num_envs=1)
    run.peer.refused(
        "OpenSession", one_more, "RESOURCE_EXHAUSTED", reason="CAPACITY", about="no session is free"
    )
    for session in sessions:
        session.close()
    after = run.peer.info().limits.free_sessions
    equal("Limits.free_sessions after all were closed", after, free)
