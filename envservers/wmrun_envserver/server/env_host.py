"""Simulators of one slot each, stepped one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Env
from wmrun_envserver.server.hosts import ENV_ERRORS, Failure, Move, Spec
from wmrun_envserver.server.in_process_host import InProcessHost
from wmrun_envserver.server.restart_queue import RestartQueue
from wmrun_envserver.server.rows import RowTable


class EnvHost(InProcessHost[Env]):
    """One `Env` per slot."""

    def __init__(
        self,
        make: Callable[[], Env],
        spec: Spec,
        *,
        debug: bool = False,
        restarts: RestartQueue | None = None,
    ) -> None:
        super().__init__(spec, 1, seeds_at_build=False, debug=debug, restarts=restarts)
        self._make_env = make

    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        failures: list[Failure] = []
        envs = self._simulators
        for row, slot in enumerate(move.step):
            try:
                result = envs[slot].step([leaf[row, ...] for leaf in move.action])
                table.add(slot, result, first=False)
            except ENV_ERRORS as error:
                failures.append(self._failed([slot], error))
        for slot, seed in zip(move.reset, move.seeds, strict=True):
            try:
                table.add(slot, envs[slot].reset(seed), first=True)
            except ENV_ERRORS as error:
                failures.append(self._failed([slot], error))
        return failures

    def render(self, slot: int) -> np.ndarray:
        return self._simulators[slot].render()

    def _make(self, seeds: list[int]) -> Env:
        return self._make_env()

    def _reset(
        self, first: int, slots: Sequence[int], seeds: Sequence[int | None], table: RowTable
    ) -> None:
        table.add(first, self._simulators[first].reset(seeds[0]), first=True)
