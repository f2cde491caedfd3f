"""A vector backend whose simulators follow a script: slots that move at different times, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import (
    Batch,
    EnvFamily,
    EnvTraits,
    NeedsPartialBatch,
    SeedScope,
    VectorBackend,
    VectorEnv,
)

from tests.envserver.server.scripted import ACTION, OBSERVATION


@dataclass
class VectorScript:
    """What one simulator does; advances are counted from 1."""

    lengths: Sequence[int] = (100,)
    """Of the episodes of each slot; the last one is for all further slots."""
    periods: Sequence[int] = (1,)
    """Ticks between the rows of each slot; other than 1 needs a partial batch."""
    appears_at: Sequence[int] = (0,)
    """The tick at which each slot has its first row."""
    step_error: Exception | None = None
    error_at: int = 1
    """The advance that raises it."""
    spoil: Mapping[int, Any] = field(default_factory=dict)
    """By advance: a function of the batch that makes it wrong."""
    reverse: bool = False


class ScriptedVectorEnv(VectorEnv):
    """Observes `[step, gear of the last action, seed of the last seeded reset]` in every slot.

    A tick passes when nobody who is there still has to answer.
    """

    observation_space = OBSERVATION
    action_space = ACTION

    def __init__(
        self, script: VectorScript, num_slots: int, seeds: Sequence[int] | None, partial: bool
    ) -> None:
        self.script = script
        self.seeds = np.full(num_slots, -1)
        if seeds is not None:
            self.seeds[:] = seeds
        self.is_closed = False
        self.calls: list[tuple[list[int], list[int], list[int] | None]] = []
        self._size = num_slots
        self._partial = partial
        self._tick = 0
        self._steps = np.zeros(num_slots, np.int64)
        self._gears = np.zeros(num_slots, np.int64)
        self._owed: dict[int, tuple[bool, int]] = {}
        """Slots whose row is due: whether it is a first one, and from which tick it may come."""
        self._asked: set[int] = set()

    def advance(
        self,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> Batch:
        self.calls.append((list(step), list(reset), None if seeds is None else list(seeds)))
        if self.script.step_error is not None and len(self.calls) == self.script.error_at:
            raise type(self.script.step_error)(*self.script.step_error.args)
        for row, slot in enumerate(step):
            self._steps[slot] += 1
            self._gears[slot] = action[1][row]
            self._owed[slot] = (False, self._tick + self._partial)
        for row, slot in enumerate(reset):
            self._steps[slot] = self._gears[slot] = 0
            if seeds is not None:
                self.seeds[slot] = seeds[row]
            self._owed[slot] = (True, self._tick)
        self._asked.difference_update([*step, *reset])
        due = self._due() if self._partial else sorted(self._owed)
        while self._partial and not due and not self._asked:
            self._tick += 1
            due = self._due()
        batch = self._batch(due[::-1] if self.script.reverse else due)
        spoil = self.script.spoil.get(len(self.calls))
        return spoil(batch) if spoil else batch

    def close(self) -> None:
        self.is_closed = True

    def render(self, slot: int) -> np.ndarray:
        return np.full((4, 8, 3), 10 * slot + self._steps[slot], np.uint8)

    def _due(self) -> list[int]:
        return [
            slot
            for slot in sorted(self._owed)
            if self._tick >= max(self._owed[slot][1], _of(self.script.appears_at, slot))
            and self._tick % _of(self.script.periods, slot) == 0
        ]

    def _batch(self, due: list[int]) -> Batch:
        slots = np.array(due, np.int64)
        first = np.array([self._owed.pop(slot)[0] for slot in due], np.bool_)
        self._asked.update(due)
        steps = self._steps[slots]
        vector = np.stack([steps, self._gears[slots], self.seeds[slots]], 1).astype(np.float32)
        image = np.repeat(steps, 4).reshape(-1, 2, 2, 1).astype(np.uint8)
        ended = steps == [_of(self.script.lengths, slot) for slot in due]
        return Batch(
            slots,
            [vector, image],
            reward=steps.astype(np.float64),
            terminated=ended & ~first,
            truncated=np.zeros(len(due), np.bool_),
            is_first=first,
            info={"step": (np.arange(len(due)), steps)} if steps.any() else {},
        )


class ScriptedVectorBackend(VectorBackend):
    """Builds the simulators of `scripts` in order, then more of the last one."""

    def __init__(
        self,
        *scripts: VectorScript,
        slots_per_simulator: int | None = None,
        seed_scope: SeedScope = "reset",
        render_modes: tuple[str, ...] = ("rgb_array",),
        resets_together: bool = False,
    ) -> None:
        self._scripts = scripts or (VectorScript(),)
        self._traits = EnvTraits(
            seed_scope=seed_scope,
            render_modes=render_modes,
            slots_per_simulator=slots_per_simulator,
            resets_together=resets_together,
        )
        self.made: list[ScriptedVectorEnv] = []

    def family(self) -> EnvFamily:
        return EnvFamily("scripted", ("scripted",))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return self._traits

    def make_vector(
        self,
        env_id: str,
        config: Mapping[str, Any],
        num_slots: int,
        *,
        seeds: Sequence[int] | None = None,
        partial: bool = False,
        render: bool = False,
    ) -> VectorEnv:
        script = self._scripts[min(len(self.made), len(self._scripts) - 1)]
        if not partial and any(period != 1 for period in script.periods):
            raise NeedsPartialBatch("the agents of this scene decide at different times")
        env = ScriptedVectorEnv(script, num_slots, seeds, partial)
        self.made.append(env)
        return env


def _of(values: Sequence[int], slot: int) -> int:
    return values[min(slot, len(values) - 1)]
