"""What a check works with: a connection, the environments on offer, and servers of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wmrun_envserver.conformance.check import Skip
from wmrun_envserver.conformance.launch import Launched, Launcher
from wmrun_envserver.conformance.peer import Deadline, Peer, Target
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import PROTOCOL_MINOR


@dataclass(frozen=True)
class Settings:
    """What the suite was asked to do."""

    env_id: str | None = None
    """The environment under test; None: "echo" where it is on offer, else the first one."""
    config: Mapping[str, Any] = field(default_factory=dict)
    num_envs: int = 2
    steps: int = 1000
    echo_env_id: str = "echo"
    fault_env_id: str = "fault"
    limit_s: float = 120.0
    """Of one check."""


class Choice(NamedTuple):
    """An environment and its options."""

    env_id: str
    config: Mapping[str, Any]

    @property
    def config_json(self) -> str:
        """The options as they travel."""
        return json.dumps(dict(self.config))


class Run:
    """One check being made. Closing it closes every session, connection and server of the check."""

    def __init__(self, settings: Settings, target: Target, launcher: Launcher | None) -> None:
        self.settings = settings
        self.omitted: list[str] = []
        self.deadline = Deadline(settings.limit_s)
        self._target = target
        self._launcher = launcher
        self._stack = ExitStack()
        self.peer = self.connect(target)
        self._on_offer: dict[str, messages.EnvInfo] | None = None

    def close(self) -> None:
        """Let go of everything, without waiting for a server that hangs."""
        self._stack.close()

    @property
    def on_offer(self) -> dict[str, messages.EnvInfo]:
        """The environments that the server lists, by id."""
        if self._on_offer is None:
            self._on_offer = {env.env_id: env for env in self.peer.info().envs}
        return self._on_offer

    @property
    def subject(self) -> Choice:
        """The environment under test."""
        settings = self.settings
        env_id = settings.env_id
        if env_id is None:
            names = [name for name, env in self.on_offer.items() if env.available]
            if not names:
                raise Skip("the server lists no environment: name one with --env-id")
            env_id = settings.echo_env_id if settings.echo_env_id in names else names[0]
        return Choice(env_id, settings.config)

    @property
    def has_echo(self) -> bool:
        """Whether the test env "echo" is on offer."""
        return self.settings.echo_env_id in self.on_offer

    def echo(self, **config: Any) -> Choice:
        """Return the test env "echo" with options; raises `Skip` where it is not on offer."""
        if not self.has_echo:
            raise Skip(f"needs the test env {self.settings.echo_env_id!r} (--echo-env-id)")
        return Choice(self.settings.echo_env_id, config)

    def fault(self, **config: Any) -> Choice:
        """Return the test env "fault" with options; raises `Skip` where it is not on offer."""
        if self.settings.fault_env_id not in self.on_offer:
            raise Skip(f"needs the test env {self.settings.fault_env_id!r} (--fault-env-id)")
        return Choice(self.settings.fault_env_id, config)

    def light(self, **config: Any) -> Choice:
        """Return "echo" where it is on offer, else the environment under test."""
        return self.echo(**config) if self.has_echo else self.subject

    def subjects(self, **config: Any) -> list[Choice]:
        """Return the environment under test, and "echo" with `config` where it is on offer."""
        echo = [self.echo(**config)] if self.has_echo else []
        subject = self.subject
        is_echo = subject.env_id == self.settings.echo_env_id
        return echo if echo and is_echo and not subject.config else [*echo, subject]

    def opening(self, choice: Choice, **fields: Any) -> messages.OpenSessionRequest:
        """Return a request for a session of `choice`, NEXT_STEP unless `fields` say otherwise."""
        defaults: dict[str, Any] = {
            "protocol_minor": PROTOCOL_MINOR,
            "client_name": "conformance",
            "env_id": choice.env_id,
            "env_config_json": choice.config_json,
            "num_envs": self.settings.num_envs,
            "autoreset": messages.NEXT_STEP,
        }
        return messages.OpenSessionRequest(**(defaults | fields))

    def open(self, choice: Choice, peer: Peer | None = None, **fields: Any) -> Session:
        """Open a session, which is closed with the check."""
        peer = peer or self.peer
        session = Session(peer, peer.call("OpenSession", self.opening(choice, **fields)))
        self._stack.callback(_close_quietly, session)
        return session

    def connect(self, target: Target | None = None) -> Peer:
        """Return another connection, to the server under test unless `target` says otherwise."""
        peer = Peer(target or self._target, self.deadline)
        self._stack.callback(peer.close)
        return peer

    @property
    def launcher(self) -> Launcher:
        """What starts servers; raises `Skip` without --launch."""
        if self._launcher is None:
            raise Skip("needs --launch: the suite must start, stop and kill the server itself")
        return self._launcher

    def launched(self) -> Launched:
        """Start another server, which is ended with the check."""
        return self._stack.enter_context(self.launcher.running(self.deadline))

    def omit(self, what: str, why: str) -> None:
        """Say that part of the check was not made."""
        self.omitted.append(f"{what}: {why}")

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Turn a `Skip` inside into an omission, so that the rest of the check is still made."""
        try:
            yield
        except Skip as skip:
            self.omit(what, str(skip))


def _close_quietly(session: Session) -> None:
    # A step that hangs holds CloseSession up; the lease sees to what is left.
    request = messages.CloseSessionRequest(session_id=session.id)
    try:
        session.peer.start("CloseSession", request, 5.0).exception()
    except Exception:
        return
