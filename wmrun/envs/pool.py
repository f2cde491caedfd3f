"""The environments of one role of a run, on one server that is brought back when it is lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.envs.client import EnvSession
from wmrun.envs.errors import (
    EnvBudgetSpent,
    EnvProtocolError,
    EnvRequestError,
    EnvServerLost,
    EnvStartError,
    EnvUnreachable,
)
from wmrun.envs.request import Role, refused, session_request
from wmrun.envs.restarts import RestartBudget
from wmrun.envs.rows import Rows, SlotFailure
from wmrun.envs.server_log import ServerLog
from wmrun.envs.spec import EnvSpec
from wmrun.envs.supervisor import ServerProcess, start_server

__all__ = ["SERVER_LOST", "EnvPool", "Role"]

SERVER_LOST = "SERVER_LOST"
"""`SlotFailure.reason` when all slots went with their server."""

_FIRST_PATIENCE_S = 3.0
"""A server at an address should be there when a run begins; later it may be restarting."""
_LOST_GRACE_S = 2.0


class EnvPool:
    """`num_envs` slots of `task`, on a server of their own or at `server.address`.

    When the server is lost it is started again, or found again, and the session reopened with fresh
    seeds, within `config.server.restarts`: the caller sees first rows with every slot `broken`. The
    log of an own server is `log_dir/ROLE.log`. `client_id` names the run, so that one that was
    killed and resumed takes the place of its own dead session on a server that it does not own.
    """

    def __init__(
        self,
        config: EnvConfig,
        *,
        log_dir: Path,
        seed: int,
        role: Role,
        client_id: str | None = None,
    ) -> None:
        self._config = config
        self._seed = seed
        self._role = role
        self._client_id = client_id or uuid.uuid4().hex
        self._log = ServerLog(log_dir / f"{role}.log")
        restarts = config.server.restarts
        self._budget = RestartBudget(
            max_restarts=restarts.max, per_window=restarts.per_window, window_s=restarts.window_s
        )
        self._times_opened = 0
        self._server: ServerProcess | None = None
        self._session: EnvSession | None = None
        self._spec: EnvSpec | None = None

    def __enter__(self) -> EnvPool:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_envs(self) -> int:
        return self._config.num_envs

    @property
    def spec(self) -> EnvSpec:
        assert self._spec is not None, "EnvPool.open was not called"
        return self._spec

    def open(self) -> EnvSpec:
        """Start the server if there is none to connect to, open the session, return what it offers.

        Raises `EnvStartError` or `EnvUnreachable`; nothing is left running then.
        """
        try:
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

    def step(self, actions: Sequence[np.ndarray]) -> Rows:
        """Apply one action per slot: an array `[N, ...]` for each leaf of the action space.

        Raises `EnvBudgetSpent` when the server was lost once too often.
        """
        return self._surviving(lambda: self._live.step(actions))

    def step_begin(self, actions: Sequence[np.ndarray]) -> None:
        """Send the actions of a step and return at once; the next call must be `step_end`."""
        self._live.step_begin(actions)

    def step_end(self) -> Rows:
        """Return the rows of the step begun. Raises as `step` does."""
        return self._surviving(lambda: self._live.step_end())

    def report(self) -> str:
        """Say how the server stands, with the last lines of its log where it is ours."""
        if self._server is not None:
            return self._server.report()
        if self._config.server.address is not None:
            return f"The log of the env server at {self._config.server.address} says more."
        return self._log.excerpt()

    def save(self) -> dict[str, int]:
        """Return what a resumed run needs so that no seed is used twice."""
        return {"times_opened": self._times_opened}

    def load(self, state: dict[str, int]) -> None:
        """Go on from what `save` returned; call it before `open`."""
        self._times_opened = state["times_opened"]

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
        assert self._session is not None, "EnvPool.open was not called"
        return self._session

    def _start(self, patience_s: float) -> EnvSpec:
        """Bring up the session, after the server or waiting `patience_s` for an answer from it.

        What was up when it raises is left for `close`.
        """
        config = self._config.server
        address = config.address
        if address is None:
            patience_s = config.start_timeout_s
            self._server = start_server(
                python=config.python,
                backend=self._config.backend,
                log=self._log,
                timeout_s=config.start_timeout_s,
            )
            address = self._server.address
        try:
            self._session = EnvSession(
                address,
                session_request(
                    self._config, self._client_id, self._seed, self._role, self._times_opened
                ),
                connect_timeout_s=patience_s,
                server_gone=self._server.exited if self._server else None,
            )
        except EnvRequestError as refusal:
            raise refused(self._config, refusal, self.report()) from None
        except EnvUnreachable as unreachable:
            if self._server is None:
                raise
            raise EnvServerLost(unreachable.message) from None
        self._times_opened += 1
        return self._accept(self._session.spec)

    def _accept(self, spec: EnvSpec) -> EnvSpec:
        if self._spec is not None and self._spec.spec_hash != spec.spec_hash:
            raise EnvProtocolError(
                f"{self._config.task} came back with other observation or action spaces than before"
            )
        self._spec = spec
        return spec

    def _surviving(self, call: Callable[[], Rows]) -> Rows:
        try:
            return call()
        except EnvServerLost as lost:
            return self._revive(lost)

    def _revive(self, lost: EnvServerLost | EnvStartError) -> Rows:
        """Restart until a reset succeeds or the budget is spent; all slots are broken then."""
        while True:
            report = self._bury()
            failure = f"{lost}. {report}" if isinstance(lost, EnvServerLost) else str(lost)
            if not self._budget.spend():
                raise EnvBudgetSpent(
                    f"the {self._role} environments were lost {self._budget.used + 1} times, "
                    f"env.server.restarts allows {self._budget}. The last time: {failure}"
                )
            sleep(self._budget.backoff_s)
            try:
                self._start(self._config.server.start_timeout_s)
                rows = self._live.reset()
            except (EnvServerLost, EnvStartError) as error:
                lost = error
                continue
            slots = tuple(range(self.num_envs))
            return replace(rows, broken=slots, errors=(SlotFailure(slots, SERVER_LOST, failure),))

    def _bury(self) -> str:
        """Let go of session and server, and return how the server stood."""
        report = self.report()
        if self._session is not None:
            self._session.abandon()
            self._session = None
        if self._server is not None:
            self._server.stop(_LOST_GRACE_S)
            self._server = None
        return report
