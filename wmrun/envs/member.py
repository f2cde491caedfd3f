"""The slots of one role that one server steps, brought back with their server when it is lost."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.envs import lost_servers
from wmrun.envs.access import Access
from wmrun.envs.client import EnvSession
from wmrun.envs.errors import (
    EnvRefused,
    EnvRequestError,
    EnvServerLost,
    EnvStartError,
    EnvStopped,
    EnvUnreachable,
)
from wmrun.envs.placement import Placement, errors_name
from wmrun.envs.request import Role, refused, session_request
from wmrun.envs.restarts import RestartBudget
from wmrun.envs.rows import Rows, SlotFailure, name_slots
from wmrun.envs.server_log import ServerLog
from wmrun.envs.spec import EnvSpec
from wmrun.envs.supervisor import ServerProcess, start_server
from wmrun.errors import EnvError

SERVER_LOST = "SERVER_LOST"
"""`SlotFailure.reason` when all slots went with their server."""

_FIRST_PATIENCE_S = 3.0
"""A server at an address should be there when a run begins; later it may be restarting."""
_LOST_GRACE_S = 2.0
_FOR_EVER = -math.inf
"""Since when a server that is away is waited for: there is no patience left with it."""

_LOG = logging.getLogger(__name__)


class PoolMember:
    """The slots of `place`, numbered from 0, on a server of their own or at its address.

    When the server is lost it is started again, or found again, and the session reopened with fresh
    seeds, within `place.server.restarts`: the caller sees first rows with every slot `broken`. The
    log of an own server is `log_dir/LABEL.log`.
    """

    def __init__(
        self,
        config: EnvConfig,
        place: Placement,
        *,
        log_dir: Path,
        seed: int,
        role: Role,
        client_id: str,
        run_name: str | None,
    ) -> None:
        self.place = place
        self.times_opened = 0
        self._config = config
        self._seed = seed
        self._role = role
        self._client_id = client_id
        self._run_name = run_name
        self._log = ServerLog(log_dir / f"{place.label}.log")
        restarts = place.server.restarts
        self._budget = RestartBudget(
            max_restarts=restarts.max, per_window=restarts.per_window, window_s=restarts.window_s
        )
        self._server: ServerProcess | None = None
        self._session: EnvSession | None = None
        self._spec: EnvSpec | None = None
        self._closing = threading.Event()
        self._waiting_since: float | None = None
        """When a call began that waits for the server (monotonic); None: there is none."""

    @property
    def spec(self) -> EnvSpec:
        assert self._spec is not None, "PoolMember.open was not called"
        return self._spec

    @property
    def server_pid(self) -> int | None:
        """The process of an own server that runs."""
        return None if self._server is None else self._server.pid

    def open(self) -> EnvSpec:
        """Start the server if there is none to connect to, open the session, return what it offers.

        Raises `EnvStartError` or `EnvUnreachable`; nothing is left running then.
        """
        try:
            with self._waiting(_FOR_EVER):
                return self._start(_FIRST_PATIENCE_S)
        except EnvServerLost as lost:
            message = f"{lost}. {self.report()}"
            self.close()
            raise EnvStartError(message) from None
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int] = ()) -> Rows:
        """Begin an episode in every slot; `seeds`, one per slot, start its randomness anew."""
        return self._surviving(lambda: self._live.reset(seeds))

    def step(self, actions: Sequence[np.ndarray], slots: Sequence[int]) -> Rows:
        """Apply one action per slot of `slots`, which the last rows were of.

        Raises `EnvBudgetSpent` when the server was lost once too often.
        """
        return self._surviving(lambda: self._live.step(actions, self._named(slots)))

    def step_begin(self, actions: Sequence[np.ndarray], slots: Sequence[int]) -> None:
        """Send the actions of a step and return at once; the next call must be `step_end`."""
        with self._waiting():  # large actions wait to be read
            self._live.step_begin(actions, self._named(slots))

    def answered(self, within_s: float) -> bool:
        """Wait up to `within_s` for the reply to the step begun, and say whether it came."""
        with self._waiting():
            return self._live.answered(within_s)

    def step_end(self) -> Rows:
        """Return the rows of the step begun. Raises as `step` does."""
        return self._surviving(lambda: self._live.step_end())

    def report(self) -> str:
        """Say how the server stands, with the last lines of its log where it is ours."""
        if self._server is not None:
            return self._server.report()
        if self.place.server.address is not None:
            return f"The log of the env server at {self.place.server.address} says more."
        return self._log.excerpt()

    def stop_waiting(self, patience_s: float) -> None:
        """`cancel` if another thread waits for a server that is away, or waits for `patience_s`."""
        since = self._waiting_since
        if since is not None and time.monotonic() - since > patience_s:
            self.cancel()

    def cancel(self) -> None:
        """End what another thread waits for here with `EnvStopped`; `close` must follow."""
        self._closing.set()
        session = self._session
        if session is not None:
            session.cancel()

    def close(self) -> None:
        """Close the session and stop the server if it is ours."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def _live(self) -> EnvSession:
        assert self._session is not None, "PoolMember.open was not called"
        return self._session

    def _named(self, slots: Sequence[int]) -> Sequence[int] | None:
        return None if len(slots) == len(self.place.slots) else slots

    def _start(self, patience_s: float) -> EnvSpec:
        """Bring up the session, after the server or waiting `patience_s` for an answer from it.

        What was up when it raises is left for `close`.
        """
        with errors_name(self.place.key):
            address = self.place.server.address
            if address is None:
                patience_s = self.place.server.start_timeout_s
                self._server = self._start_server()
                address = self._server.address
            try:
                spec = self._open_session(address, patience_s)
            except EnvRequestError as refusal:
                raise refused(
                    self._config, self.place, self._role, refusal, self.report()
                ) from None
            except EnvUnreachable as unreachable:
                if self._server is None:
                    raise
                raise EnvServerLost(unreachable.message) from None
        self.times_opened += 1
        return self._accept(spec)

    def _open_session(self, address: str, patience_s: float) -> EnvSpec:
        config = self.place.server
        self._session = EnvSession(
            address,
            session_request(
                self._config,
                self.place,
                self._client_id,
                self._seed,
                self._role,
                self.times_opened,
                run_name=self._run_name,
            ),
            access=Access.load(
                token_file=config.token_file,
                tls_ca=config.tls_ca,
                tls_cert=config.tls_cert,
                tls_key=config.tls_key,
            ),
            connect_timeout_s=patience_s,
            server_gone=self._server.exited if self._server else None,
            server_stopped=self._server.is_stopped if self._server else lambda: False,
            label=self._label,
        )
        if self._closing.is_set():  # `cancel` may have come before there was a session
            self._session.cancel()
        return self._session.open()

    @property
    def _label(self) -> str:
        whose = f"the env server of {self._role} {name_slots(self.place.slots)}"
        if self._server is None:
            return f"{whose} at {self.place.server.address}"
        return f"{whose} ({self.place.key}, pid {self._server.pid})"

    def _start_server(self) -> ServerProcess:
        config = self.place.server
        source = self._config.source
        return start_server(
            python=config.python,
            backend=self._config.backend,
            log=self._log,
            timeout_s=config.start_timeout_s,
            workers=config.workers,
            sources={} if source is None else {self._config.task: source},
            restarts=config.restarts,
            cancelled=self._closing.is_set,
        )

    def _accept(self, spec: EnvSpec) -> EnvSpec:
        if self._spec is not None and self._spec.spec_hash != spec.spec_hash:
            raise lost_servers.other_spaces(self.place, self._config.task, self._spec, spec)
        self._spec = spec
        return spec

    def _surviving(self, call: Callable[[], Rows]) -> Rows:
        with self._waiting():
            try:
                with errors_name(self.place.key):
                    return call()
            except EnvServerLost as loss:
                return self._revive(loss)

    @contextmanager
    def _waiting(self, since: float | None = None) -> Iterator[None]:
        """Let `stop_waiting` know of what is waited for in this block, `since` now if not given."""
        self._waiting_since = time.monotonic() if since is None else since
        try:
            yield
        except EnvError:
            if self._closing.is_set():
                raise EnvStopped(f"stopped while waiting for {self.place.server_name}") from None
            raise
        finally:
            self._waiting_since = None

    def _revive(self, loss: lost_servers.Loss) -> Rows:
        """Restart until a reset succeeds or the budget is spent; all slots are broken then."""
        place = self.place
        self._waiting_since = _FOR_EVER
        while not self._closing.is_set():
            may_restart = self._budget.spend()
            cause = lost_servers.cause(loss, self._server)
            failure = lost_servers.failure(place, loss, self._bury(may_restart))
            if not may_restart:
                raise lost_servers.budget_spent(place, self._role, self._budget, failure)
            _LOG.warning(
                "%s", lost_servers.restart_notice(place, loss, cause, self._budget.standing)
            )
            self._wait(self._budget.backoff_s)
            try:
                self._start(place.server.start_timeout_s)
                rows = self._live.reset()
            except EnvRefused as refusal:
                raise lost_servers.refused_again(place, refusal) from None
            except (EnvServerLost, EnvStartError, EnvUnreachable) as error:
                loss = error
                continue
            if self._server is None and not lost_servers.forgot_session(place, loss):
                _LOG.warning("%s is back", place.server_name)
            slots = tuple(range(len(place.slots)))
            return replace(rows, broken=slots, errors=(SlotFailure(slots, SERVER_LOST, failure),))
        raise loss

    def _wait(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def _bury(self, may_restart: bool) -> str:
        """Let go of session and server, and return how the server stood."""
        report = self.report() if self._server is None else self._server.obituary(may_restart)
        if self._session is not None:
            self._session.abandon()
            self._session = None
        if self._server is not None:
            self._server.stop(_LOST_GRACE_S)
            self._server = None
        return report
