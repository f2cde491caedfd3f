"""Simulators in the thread that builds them, and their replacement."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from wmrun_envserver.server.hosts import (
    ENV_ERRORS,
    Failure,
    Host,
    Restart,
    Simulator,
    Spec,
    Until,
    close_quietly,
    failure_of,
)
from wmrun_envserver.server.restart_queue import RestartQueue
from wmrun_envserver.server.rows import RowTable

_LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=Simulator)


class InProcessHost(Host, Generic[S]):
    """One `S` per `slots_per_simulator` slots, known by its first slot."""

    def __init__(
        self,
        spec: Spec,
        slots_per_simulator: int,
        *,
        seeds_at_build: bool,
        debug: bool,
        restarts: RestartQueue | None,
    ) -> None:
        self.slots_per_simulator = slots_per_simulator
        self._spec = spec
        self._seeds_at_build = seeds_at_build
        self._debug = debug
        self._restarts = RestartQueue() if restarts is None else restarts
        self._simulators: dict[int, S] = {}

    def build(self, slots: Sequence[int], seeds: Sequence[int] = ()) -> None:
        """Build the simulators of `slots`; raises what building raises, with none left open.

        `seeds`, one per slot, are for simulators that are seeded when they are built.
        """
        try:
            for row in range(0, len(slots), self.slots_per_simulator):
                of_simulator = list(seeds[row : row + self.slots_per_simulator])
                self._simulators[slots[row]] = self._built(of_simulator)
        except BaseException:
            self.discard(slots)
            raise

    def restart(self, restart: Restart) -> None:
        self.discard(restart.slots)
        self._restarts.add(restart)

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        rebuilt: list[int] = []
        failures: list[Failure] = []
        for restart in self._restarts.take(until):
            for first in restart.slots[:: self.slots_per_simulator]:
                slots = self.mates(first)
                start = len(table)
                try:
                    self._rebuild(slots, restart, table)
                    rebuilt += slots
                except ENV_ERRORS as error:
                    table.cut(start)
                    failures.append(self._failed(slots, error))
        return rebuilt, failures

    def discard(self, slots: Sequence[int]) -> None:
        for slot in slots:
            simulator = self._simulators.pop(slot, None)
            if simulator is not None:
                close_quietly(simulator, slot)

    def child_pids(self) -> list[int]:
        """Return the processes that simulators started outside the process group."""
        return [pid for simulator in self._simulators.values() for pid in simulator.child_pids()]

    def close(self) -> None:
        self.discard(list(self._simulators))

    @abstractmethod
    def _make(self, seeds: list[int]) -> S:
        """Return a new simulator, seeded with one seed per slot unless there are none."""

    @abstractmethod
    def _reset(
        self, first: int, slots: Sequence[int], seeds: Sequence[int | None], table: RowTable
    ) -> None:
        """Begin an episode in `slots` of the simulator `first` and add the rows to `table`."""

    def _rebuild(self, slots: tuple[int, ...], restart: Restart, table: RowTable) -> None:
        seeds = [restart.seeds.get(slot) for slot in slots]
        at_build = [seed for seed in seeds if seed is not None] if self._seeds_at_build else []
        self._simulators[slots[0]] = self._built(at_build if len(at_build) == len(slots) else [])
        reset = [slot for slot in restart.reset if slot in slots]
        if reset:
            at_reset = [None if self._seeds_at_build else restart.seeds.get(slot) for slot in reset]
            self._reset(slots[0], reset, at_reset, table)

    def _built(self, seeds: list[int]) -> S:
        simulator = self._make(seeds)
        try:
            self._spec.admit(simulator.observation_space, simulator.action_space)
        except BaseException:
            simulator.close()
            raise
        return simulator

    def _failed(self, slots: Sequence[int], error: BaseException) -> Failure:
        _LOG.error("the simulator of the slots %s failed", list(slots), exc_info=error)
        return failure_of(slots, error, debug=self._debug)
