"""How a session is opened: checks first, then room, then environments, then its reply."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from wmrun_envserver.backends.base import EnvTraits, VectorBackend
from wmrun_envserver.server import capabilities
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.hosts import ENV_ERRORS, Host, Spec
from wmrun_envserver.server.leases import Clock, Lease
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused, refusal_of
from wmrun_envserver.server.rows import batch_bytes, leaf_bytes
from wmrun_envserver.server.session import Session
from wmrun_envserver.server.sessions import Sessions
from wmrun_envserver.server.shared_memory import SharedMemory, shared_memory
from wmrun_envserver.server.simulators import LocalHost, Plan, local_host
from wmrun_envserver.server.slots import Slots
from wmrun_envserver.server.validation import check_open, check_traits
from wmrun_envserver.server.worker import Abandoned, Worker
from wmrun_envserver.server.worker_hosts import WorkerHosts
from wmrun_envserver.server.worker_jobs import TimeLimits
from wmrun_envserver.server.worker_main import Setup
from wmrun_envserver.server.worker_process import WorkerProcess
from wmrun_envserver.wire import messages, spaces
from wmrun_envserver.wire.service import PROTOCOL_MINOR
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

_SEED_SCOPES = {
    "reset": messages.SEED_PER_RESET,
    "session": messages.SEED_PER_SESSION,
    "none": messages.SEED_NONE,
}

T = TypeVar("T")


@dataclass(frozen=True)
class _Opening:
    """A request that was checked, and what it comes to."""

    request: messages.OpenSessionRequest
    traits: EnvTraits
    plan: Plan
    num_workers: int
    capabilities: list[str]
    polls_all: bool
    """Whether simulators may have rows of slots that nobody named."""
    may_share: bool
    """Whether the client wants large tensors in a file, and is on this host."""

    @property
    def any_thread(self) -> bool:
        """Whether any thread may move the simulators: in other processes, or not bound to one."""
        return self.num_workers > 0 or (self.traits.any_thread and not self.plan.render)


class Opener:
    """Turns OpenSession requests into sessions."""

    def __init__(
        self,
        catalogue: Catalogue,
        sessions: Sessions,
        limits: Limits,
        *,
        workers: int | None,
        instance_id: str,
        step_socket: str,
        clock: Clock,
        debug: bool,
    ) -> None:
        """`step_socket` is the name of the server's, if it has one."""
        self._catalogue = catalogue
        self._sessions = sessions
        self._limits = limits
        self._workers = workers
        self._instance_id = instance_id
        self._step_socket = step_socket
        self._clock = clock
        self._debug = debug
        # Simulators are seldom built to be built in two threads at once.
        self._building = threading.Lock()

    def open(
        self,
        request: messages.OpenSessionRequest,
        wanted: Callable[[], bool],
        *,
        is_local: bool = False,
    ) -> messages.OpenSessionReply:
        """Open a session and describe it; `is_local`: its client is on this host.

        Raises `Refused`, or `Abandoned` once `wanted()` is false; nothing is left open then.
        """
        config = check_open(request, self._limits)
        opening = self._guarded(partial(self._prepare, request, config, is_local))
        if request.supersede:
            self._sessions.supersede(request.client_id)
        self._sessions.sweep()
        with self._sessions.reserved(request.num_envs):
            session = self._build(opening, wanted)
            try:
                reply = self._guarded(partial(self._reply, opening, session))
            except BaseException:
                session.close()
                raise
            self._sessions.add(session)
        _LOG.info(
            "session %s: opened %s, %d slots in %s, for %r",
            session.label,
            request.env_id,
            request.num_envs,
            f"{opening.num_workers} processes" if opening.num_workers else "this process",
            request.client_name or "an unnamed client",
        )
        return reply

    def _prepare(
        self, request: messages.OpenSessionRequest, config: dict[str, Any], is_local: bool
    ) -> _Opening:
        with self._building:
            backend = self._catalogue.backend(request.env_id)
            traits = backend.prepare(request.env_id, config)
        check_traits(request, traits)
        is_vector = isinstance(backend, VectorBackend)
        per_simulator = (traits.slots_per_simulator or request.num_envs) if is_vector else 1
        num_workers = self._num_workers(traits, request.num_envs // per_simulator)
        granted = capabilities.granted(
            request.want_capabilities,
            can_render=bool(traits.render_modes),
            in_workers=num_workers > 0,
            has_step_socket=is_local and bool(self._step_socket),
        )
        plan = Plan(
            env_id=request.env_id,
            config=config,
            slots_per_simulator=per_simulator,
            partial=capabilities.PARTIAL_BATCH in granted,
            render=bool(request.render_mode),
            seeds_at_build=is_vector and traits.seed_scope == "session",
            debug=self._debug,
        )
        polls_all = is_vector and plan.partial
        may_share = is_local and capabilities.SHM in request.want_capabilities
        return _Opening(request, traits, plan, num_workers, granted, polls_all, may_share)

    def _num_workers(self, traits: EnvTraits, num_simulators: int) -> int:
        if self._catalogue.recipe is None:
            return 0
        if self._workers is None:
            return num_simulators if traits.isolate else 0
        return min(self._workers, num_simulators)

    def _build(self, opening: _Opening, wanted: Callable[[], bool]) -> Session:
        request = opening.request
        worker = Worker("session")
        slots = worker.submit(partial(self._slots, opening))
        try:
            built = self._guarded(partial(slots.wait, wanted))
            if not wanted():
                raise Abandoned
        except BaseException:
            worker.finish(lambda: slots.wait().close())
            raise
        lease = Lease(self._limits.lease_s(request.lease_ms), self._clock)
        return Session(
            request.client_id,
            built,
            worker,
            lease,
            self._limits.max_message_bytes,
            renders=bool(request.render_mode),
            capabilities=opening.capabilities,
            any_thread=opening.any_thread,
        )

    def _slots(self, opening: _Opening) -> Slots:
        request, plan = opening.request, opening.plan
        spec = Spec(partial(self._check_sizes, request))
        host = self._host(opening, spec)
        memory = None
        try:
            memory = self._memory(opening, spec)
            return Slots(
                host,
                spec,
                request.num_envs,
                autoreset=request.autoreset,
                partial=plan.partial,
                seed_scope=opening.traits.seed_scope,
                seeds=request.seeds,
                seeds_at_build=plan.seeds_at_build,
                resets_together=opening.traits.resets_together,
                memory=memory,
                limits=self._limits,
                clock=self._clock,
            )
        except BaseException:
            host.close()
            if memory is not None:
                memory.close()
            raise

    def _memory(self, opening: _Opening, spec: Spec) -> SharedMemory | None:
        if not opening.may_share:
            return None
        rows = _max_rows(opening.request)
        sizes = leaf_bytes(spaces.leaves(spec.observation_space))
        return shared_memory([rows * size for size in sizes])

    def _host(self, opening: _Opening, spec: Spec) -> Host:
        request, plan = opening.request, opening.plan
        host: LocalHost | WorkerHosts
        if opening.num_workers:
            host = self._worker_hosts(opening, spec)
        else:
            backend = self._catalogue.backend(plan.env_id)
            host = local_host(backend, plan, spec, self._building)
        host.build(range(request.num_envs), request.seeds if plan.seeds_at_build else ())
        return host

    def _worker_hosts(self, opening: _Opening, spec: Spec) -> WorkerHosts:
        request, plan, limits = opening.request, opening.plan, self._limits
        assert self._catalogue.recipe is not None
        setup = Setup(
            recipe=self._catalogue.recipe,
            plan=plan.to_json(),
            num_slots=request.num_envs,
            log_level=logging.getLevelName(logging.getLogger().getEffectiveLevel()),
        )
        return WorkerHosts(
            partial(WorkerProcess, setup.to_json()),
            spec,
            num_slots=request.num_envs,
            slots_per_simulator=plan.slots_per_simulator,
            num_workers=opening.num_workers,
            polls_all=opening.polls_all,
            limits=TimeLimits(
                step_s=request.step_timeout_ms / 1000 or limits.step_timeout_s,
                reset_s=request.reset_timeout_ms / 1000 or limits.reset_timeout_s,
                build_s=limits.build_timeout_s,
            ),
        )

    def _check_sizes(
        self,
        request: messages.OpenSessionRequest,
        observation_space: spaces.Space,
        action_space: spaces.Space,
    ) -> None:
        parts = (
            ("reply", observation_space, _max_rows(request)),
            ("action", action_space, request.num_envs),
        )
        for name, space, count in parts:
            size = batch_bytes(spaces.leaves(space), count)
            if size > self._limits.max_message_bytes:
                raise Refused(
                    Reason.TOO_LARGE,
                    f"one {name} of {request.num_envs} slots needs about {size} bytes; "
                    f"a message may have {self._limits.max_message_bytes} (--max-message-mb)",
                    field="num_envs",
                )

    def _reply(self, opening: _Opening, session: Session) -> messages.OpenSessionReply:
        request, traits = opening.request, opening.traits
        spec, memory = session.slots.spec, session.slots.memory
        shared = [] if memory is None else [capabilities.SHM]
        return messages.OpenSessionReply(
            session_id=session.id,
            instance_id=self._instance_id,
            protocol_minor=min(request.protocol_minor, PROTOCOL_MINOR),
            capabilities=opening.capabilities + shared,
            observation_space=spaces.encode_space(spec.observation_space),
            action_space=spaces.encode_space(spec.action_space),
            spec_hash=spaces.spec_hash(spec.observation_space, spec.action_space),
            num_envs=request.num_envs,
            autoreset=request.autoreset,
            lease_ms=round(session.lease.duration_s * 1000),
            seed_scope=_SEED_SCOPES[traits.seed_scope],
            reward_low=traits.reward_low,
            reward_high=traits.reward_high,
            max_episode_steps=traits.max_episode_steps,
            deterministic=traits.deterministic,
            max_message_bytes=self._limits.max_message_bytes,
            renderer=session.slots.renderer or self._catalogue.renderer,
            shm_path="" if memory is None else str(memory.path),
            shm_bytes=0 if memory is None else memory.num_bytes,
            step_socket=(
                self._step_socket if capabilities.STEP_SOCKET in opening.capabilities else ""
            ),
        )

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (Refused, Abandoned):
            raise
        except ENV_ERRORS as error:
            refused = refusal_of(error, debug=self._debug)
            if refused.reason == Reason.ENV_FAILED:
                _LOG.exception("an environment could not be built")
            raise refused from error


def _max_rows(request: messages.OpenSessionRequest) -> int:
    """Return how many rows a reply can have."""
    return request.num_envs * (2 if request.autoreset == messages.SAME_STEP else 1)
