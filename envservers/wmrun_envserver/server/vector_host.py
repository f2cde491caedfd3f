"""Simulators of several slots each, which move them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Batch, EnvContractError, NeedsPartialBatch, VectorEnv
from wmrun_envserver.server.hosts import ENV_ERRORS, Failure, Move, Spec
from wmrun_envserver.server.in_process_host import InProcessHost
from wmrun_envserver.server.restart_queue import RestartQueue
from wmrun_envserver.server.rows import RowTable

MakeVector = Callable[[int, "list[int] | None"], VectorEnv]
"""Builds a simulator of that many slots, with one seed per slot where the scope is the session."""


class VectorHost(InProcessHost[VectorEnv]):
    """One `VectorEnv` per `slots_per_simulator` slots."""

    def __init__(
        self,
        make: MakeVector,
        spec: Spec,
        slots_per_simulator: int,
        *,
        partial: bool,
        seeds_at_build: bool,
        debug: bool = False,
        restarts: RestartQueue | None = None,
    ) -> None:
        super().__init__(
            spec,
            slots_per_simulator,
            seeds_at_build=seeds_at_build,
            debug=debug,
            restarts=restarts,
        )
        self._make_vector = make
        self._partial = partial

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

    def render(self, slot: int) -> np.ndarray:
        first = self.mates(slot)[0]
        return self._simulators[first].render(slot - first)

    def _make(self, seeds: list[int]) -> VectorEnv:
        return self._make_vector(self.slots_per_simulator, seeds or None)

    def _reset(
        self, first: int, slots: Sequence[int], seeds: Sequence[int | None], table: RowTable
    ) -> None:
        move = Move((), self._spec.no_action, slots, seeds)
        self._advance(first, self._simulators[first], move, table)

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


def _no_rows(action: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [leaf[:0] for leaf in action]
