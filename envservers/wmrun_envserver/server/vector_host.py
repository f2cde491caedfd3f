"""Simulators of several slots each, which move them together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Batch, EnvContractError, NeedsPartialBatch, VectorEnv
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

MakeVector = Callable[[int, "list[int] | None"], VectorEnv]
"""Builds a simulator of that many slots, with one seed per slot where the scope is the session."""


class VectorHost(Host):
    """One `VectorEnv` per `slots_per_simulator` slots, known by its first slot."""

    in_background = False

    def __init__(
        self,
        make: MakeVector,
        spec: Spec,
        slots_per_simulator: int,
        *,
        partial: bool,
        seeds_at_build: bool,
        debug: bool = False,
    ) -> None:
        self.slots_per_simulator = slots_per_simulator
        self._make = make
        self._spec = spec
        self._partial = partial
        self._seeds_at_build = seeds_at_build
        self._debug = debug
        self._simulators: dict[int, VectorEnv] = {}
        self._restarts: list[Restart] = []

    def build(self, slots: Sequence[int], seeds: Sequence[int] = ()) -> None:
        """Build the simulators of `slots`; raises what building raises, with none left open."""
        try:
            for row in range(0, len(slots), self.slots_per_simulator):
                of_simulator = list(seeds[row : row + self.slots_per_simulator])
                self._simulators[slots[row]] = self._built(of_simulator or None)
        except BaseException:
            self.discard(slots)
            raise

    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        failures = []
        for first, simulator in self._simulators.items():
            slots = range(first, first + self.slots_per_simulator)
            part = move if len(self._simulators) == 1 else move.within(slots)
            if part.is_empty and not self._partial:
                continue
            start = len(table)
            try:
                self._advance(first, simulator, part, table)
            except NeedsPartialBatch:
                raise
            except ENV_ERRORS as error:
                table.cut(start)
                failures.append(self._failed(slots, error))
        return failures

    def restart(self, restart: Restart) -> None:
        self._restarts.append(restart)

    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        restarts, self._restarts = self._restarts, []
        rebuilt: list[int] = []
        failures = []
        for restart in restarts:
            time.sleep(restart.delay_s)
            for first in restart.slots[:: self.slots_per_simulator]:
                slots = range(first, first + self.slots_per_simulator)
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

    def render(self, slot: int) -> np.ndarray:
        first = self.mates(slot)[0]
        return self._simulators[first].render(slot - first)

    def child_pids(self) -> list[int]:
        """Return the processes that simulators started outside the process group."""
        return [pid for simulator in self._simulators.values() for pid in simulator.child_pids()]

    def close(self) -> None:
        self.discard(list(self._simulators))

    def _advance(self, first: int, simulator: VectorEnv, move: Move, table: RowTable) -> None:
        """Advance in one go, or where only some resets are seeded in two: those come first."""
        seeded = [
            slot for slot, seed in zip(move.reset, move.seeds, strict=True) if seed is not None
        ]
        seeds = [seed for seed in move.seeds if seed is not None]
        if not seeded or len(seeded) == len(move.reset):
            self._call(first, simulator, move.step, move.action, move.reset, seeds, table)
            return
        self._call(first, simulator, move.step, move.action, seeded, seeds, table)
        rest = [slot for slot, seed in zip(move.reset, move.seeds, strict=True) if seed is None]
        self._call(first, simulator, (), _no_rows(move.action), rest, (), table)

    def _call(
        self,
        first: int,
        simulator: VectorEnv,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int],
        table: RowTable,
    ) -> None:
        own_step, own_reset = (
            ([slot - first for slot in step], [slot - first for slot in reset])
            if first
            else (step, reset)
        )
        batch = simulator.advance(own_step, action, own_reset, seeds or None)
        if not isinstance(batch, Batch):
            raise EnvContractError(f"advance must return a Batch, got a {type(batch).__name__}")
        slots = np.asarray(batch.slots)
        self._check_slots(slots, np.asarray(batch.is_first), own_step, own_reset)
        table.add_batch(batch._replace(slots=slots + first) if first else batch)

    def _check_slots(
        self, slots: np.ndarray, first: np.ndarray, step: Sequence[int], reset: Sequence[int]
    ) -> None:
        size = self.slots_per_simulator
        if slots.ndim != 1 or slots.dtype.kind not in "iu" or first.shape != slots.shape:
            raise EnvContractError(f"the slots of a batch must be int64[n], got {slots!r}")
        if slots.size and not 0 <= slots.min() <= slots.max() < size:
            raise EnvContractError(f"a batch has rows of {slots.tolist()}: slots are below {size}")
        seen = np.bincount(slots, minlength=size) if slots.size else np.zeros(size, np.int64)
        if seen.max(initial=0) > 1:
            raise EnvContractError(f"a batch has several rows of slot {int(seen.argmax())}")
        if self._partial:
            return
        asked = np.zeros(size, np.int64)
        asked[list(step)] = 1
        asked[list(reset)] = 2
        seen[slots] += first
        if not np.array_equal(asked, seen):
            wrong = np.flatnonzero(asked != seen).tolist()
            raise EnvContractError(
                f"a batch must hold a row of every slot named, the first of an episode for each "
                f"reset and no other: not so for the slots {wrong}"
            )

    def _rebuild(self, slots: range, restart: Restart, table: RowTable) -> None:
        first = slots[0]
        self.discard([first])
        seeds = [restart.seeds[slot] for slot in slots if slot in restart.seeds]
        at_build = seeds if self._seeds_at_build and len(seeds) == len(slots) else None
        simulator = self._simulators[first] = self._built(at_build)
        reset = [slot for slot in restart.reset if slot in slots]
        if not reset:
            return
        at_reset = [None if self._seeds_at_build else restart.seeds.get(slot) for slot in reset]
        self._advance(first, simulator, Move((), self._spec.no_action, reset, at_reset), table)

    def _built(self, seeds: list[int] | None) -> VectorEnv:
        simulator = self._make(self.slots_per_simulator, seeds)
        try:
            self._spec.admit(simulator.observation_space, simulator.action_space)
        except BaseException:
            simulator.close()
            raise
        return simulator

    def _failed(self, slots: range, error: BaseException) -> Failure:
        _LOG.error("the simulator of slots %d to %d failed", slots[0], slots[-1], exc_info=error)
        return failure_of(slots, error, debug=self._debug)


def _no_rows(action: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [leaf[:0] for leaf in action]
