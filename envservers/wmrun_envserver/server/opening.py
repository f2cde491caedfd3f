"""How a session is opened: checks first, then room, then environments, then its reply."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from wmrun_envserver.backends.base import (
    Backend,
    ConfigError,
    Env,
    EnvTraits,
    UnknownEnvError,
)
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.leases import Clock, Lease
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused, public_text
from wmrun_envserver.server.session import Session
from wmrun_envserver.server.sessions import Sessions
from wmrun_envserver.server.slots import Slots
from wmrun_envserver.server.validation import check_open
from wmrun_envserver.server.worker import Abandoned, Worker
from wmrun_envserver.wire import messages, spaces
from wmrun_envserver.wire.service import PROTOCOL_MINOR
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Opener:
    """Turns OpenSession requests into sessions."""

    def __init__(
        self,
        catalogue: Catalogue,
        sessions: Sessions,
        limits: Limits,
        *,
        instance_id: str,
        clock: Clock,
        debug: bool,
    ) -> None:
        self._catalogue = catalogue
        self._sessions = sessions
        self._limits = limits
        self._instance_id = instance_id
        self._clock = clock
        self._debug = debug
        # Simulators are seldom built to be built in two threads at once.
        self._building = threading.Lock()

    def open(
        self, request: messages.OpenSessionRequest, wanted: Callable[[], bool]
    ) -> messages.OpenSessionReply:
        """Open a session and describe it.

        Raises `Refused`, or `Abandoned` once `wanted()` is false; nothing is left open then.
        """
        config = check_open(request, self._limits)
        traits = self._guarded(partial(self._prepare, request.env_id, config))
        if request.supersede:
            self._sessions.supersede(request.client_id)
        self._sessions.sweep()
        with self._sessions.reserved(request.num_envs):
            session = self._build(request, partial(self._make, request.env_id, config), wanted)
            try:
                reply = self._guarded(partial(self._reply, request, session, traits))
            except BaseException:
                session.close()
                raise
            self._sessions.add(session)
        _LOG.info(
            "session %s: opened %s, %d slots, for %s",
            session.label,
            request.env_id,
            request.num_envs,
            request.client_name or "an unnamed client",
        )
        return reply

    def _build(
        self,
        request: messages.OpenSessionRequest,
        make: Callable[[], Env],
        wanted: Callable[[], bool],
    ) -> Session:
        worker = Worker("session")
        slots = worker.submit(
            lambda: Slots(
                make,
                request.num_envs,
                seeds=list(request.seeds),
                limits=self._limits,
                clock=self._clock,
                debug=self._debug,
            )
        )
        try:
            built = self._guarded(partial(slots.wait, wanted))
            if not wanted():
                raise Abandoned
        except BaseException:
            worker.finish(lambda: slots.wait().close())
            raise
        lease = Lease(self._limits.lease_s(request.lease_ms), self._clock)
        limit = self._limits.max_message_bytes
        return Session(request.client_id, built, worker, lease, limit)

    def _reply(
        self, request: messages.OpenSessionRequest, session: Session, traits: EnvTraits
    ) -> messages.OpenSessionReply:
        observation_space = session.slots.observation_space
        action_space = session.slots.action_space
        return messages.OpenSessionReply(
            session_id=session.id,
            instance_id=self._instance_id,
            protocol_minor=min(request.protocol_minor, PROTOCOL_MINOR),
            observation_space=spaces.encode_space(observation_space),
            action_space=spaces.encode_space(action_space),
            spec_hash=spaces.spec_hash(observation_space, action_space),
            num_envs=request.num_envs,
            autoreset=messages.NEXT_STEP,
            lease_ms=round(session.lease.duration_s * 1000),
            seed_scope=messages.SEED_PER_RESET,
            reward_low=traits.reward_low,
            reward_high=traits.reward_high,
            max_episode_steps=traits.max_episode_steps,
            deterministic=traits.deterministic,
            max_message_bytes=self._limits.max_message_bytes,
            renderer=self._catalogue.renderer,
        )

    def _prepare(self, env_id: str, config: dict[str, Any]) -> EnvTraits:
        with self._building:
            return self._catalogue.prepare(env_id, config)

    def _make(self, env_id: str, config: dict[str, Any]) -> Env:
        with self._building:
            backend = self._catalogue.backend(env_id)
            assert isinstance(backend, Backend)
            return backend.make(env_id, config)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (Refused, Abandoned):
            raise
        except UnknownEnvError as error:
            raise Refused(Reason.ENV_UNKNOWN, _words(error), field="env_id") from error
        except ConfigError as error:
            field = error.field or "env_config_json"
            raise Refused(Reason.BAD_CONFIG, _words(error), field=field) from error
        except (Exception, SystemExit) as error:
            _LOG.exception("an environment could not be built")
            text = public_text(error, debug=self._debug)
            raise Refused(
                Reason.ENV_FAILED, f"the environment could not be built: {text}"
            ) from error


def _words(error: Exception) -> str:
    # str() of a LookupError may be the repr of its argument.
    return str(error.args[0]) if error.args else type(error).__name__
