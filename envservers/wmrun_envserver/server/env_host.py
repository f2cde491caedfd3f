"""Simulators of one slot each, stepped one after the other in the thread that built them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Env, StepResult
from wmrun_envserver.server.hosts import (
    ENV_ERRORS,
    Failure,
    Host,
    Move,
    Restart,
    Spec,
    Until,
    close_quietly,
    failure_of,
)
from wmrun_envserver.server.rows import RowTable

_LOG = logging.getLogger(__name__)


class EnvHost(Host):
    """One `Env` per slot."""

    slots_per_simulator = 1
    in_background = False

    def __init__(self, make: Callable[[], Env], spec: Spec, *, debug: bool = False) -> None:
        self._make = make
        self._spec = spec
        self._debug = debug
        self._envs: dict[int, Env] = {}
        self._restarts: list[Restart] = []

    def build(self, slots: Sequence[int], seeds: Sequence[int] = ()) -> None:
        """Build the simulators of `slots`; raises what building raises, with none left open.

        `seeds` are for simulators that are seeded when they are built: none here.
        """
        try:
            for slot in slots:
                self._envs[slot] = self._built()
        except BaseException:
            self.discard(slots)
            raise

    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        failures: list[Failure] = []
        envs = self._envs
        for row, slot in enumerate(move.step):
            try:
                result = envs[slot].step([leaf[row, ...] for leaf in move.action])
                table.add(slot, result, first=False)
            except ENV_ERRORS as error:
                failures.append(self._failed(slot, error))
        for slot, seed in zip(move.reset, move.seeds, strict=True):
            try:
                table.add(slot, envs[slot].reset(seed), first=True)
            except ENV_ERRORS as error:
                failures.append(self._failed(slot, error))
        return failures

    def restart(self, restart: Restart) -> None:
        self._restarts.append(restart)

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        restarts, self._restarts = self._restarts, []
        rebuilt: list[int] = []
        failures: list[Failure] = []
        for restart in restarts:
            time.sleep(restart.delay_s)
            for slot in restart.slots:
                try:
                    self._rebuild(slot, restart, table)
                    rebuilt.append(slot)
                except ENV_ERRORS as error:
                    failures.append(self._failed(slot, error))
        return rebuilt, failures

    def discard(self, slots: Sequence[int]) -> None:
        for slot in slots:
            env = self._envs.pop(slot, None)
            if env is not None:
                close_quietly(env, slot)

    def render(self, slot: int) -> np.ndarray:
        return self._envs[slot].render()

    def child_pids(self) -> list[int]:
        """Return the processes that simulators started outside the process group."""
        return [pid for env in self._envs.values() for pid in env.child_pids()]

    def close(self) -> None:
        self.discard(list(self._envs))

    def _rebuild(self, slot: int, restart: Restart, table: RowTable) -> None:
        self.discard([slot])
        env = self._envs[slot] = self._built()
        if slot in restart.reset:
            result: StepResult = env.reset(restart.seeds.get(slot))
            table.add(slot, result, first=True)

    def _built(self) -> Env:
        env = self._make()
        try:
            self._spec.admit(env.observation_space, env.action_space)
        except BaseException:
            env.close()
            raise
        return env

    def _failed(self, slot: int, error: BaseException) -> Failure:
        _LOG.error("the environment of slot %d failed", slot, exc_info=error)
        return failure_of([slot], error, debug=self._debug)
