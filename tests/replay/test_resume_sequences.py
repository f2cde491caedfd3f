"""Random lives of a replay (append to some slots, cut episodes, checkpoint, die, resume) against
plain lists."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wmrun.replay import rowfile

from .recording import Stream, assert_holds, only, open_replay, transitions


@dataclass(eq=False)
class Checkpoint:
    state: dict[str, Any]
    stream: Stream
    start: np.ndarray
    furthest: np.ndarray
    """Most rows of each slot that any continuation of this checkpoint has written."""


class ReplayLife(RuleBasedStateMachine):
    @initialize(
        num_envs=st.integers(1, 3),
        slot_capacity=st.integers(1, 40),
        spare=st.integers(0, 12),
        chunk_rows=st.integers(1, 12),
    )
    def begin(self, num_envs: int, slot_capacity: int, spare: int, chunk_rows: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(rowfile, "CHUNK_ROWS", chunk_rows)
        self.directory = tempfile.TemporaryDirectory()
        self.num_envs, self.slot_capacity, self.spare = num_envs, slot_capacity, spare
        self.replay = self.open()
        self.stream = Stream(num_envs)
        self.checkpoints: list[Checkpoint] = []
        self.number = 0

    def open(self):
        n = self.num_envs
        path = Path(self.directory.name)
        return open_replay(path, self.slot_capacity * n, n, self.spare * n)

    @rule(
        count=st.integers(1, 30),
        slots=st.sampled_from([{0, 1, 2}, {0, 1}, {0, 2}, {1, 2}, {0}, {1}, {2}]),
        broken=st.sets(st.integers(0, 2)),
    )
    def append(self, count: int, slots: set[int], broken: set[int]) -> None:
        every = set(range(self.num_envs))
        broken = broken & every
        for _ in range(count):
            self.number += 1
            rows = only(slots & every or every, transitions(self.number, self.num_envs))
            rows = dataclasses.replace(rows, broken=tuple(broken))
            broken = set()
            self.replay.append(rows)
            self.stream.append(rows)
        for checkpoint in self.checkpoints:
            checkpoint.furthest = np.maximum(checkpoint.furthest, self.stream.lengths)

    @rule()
    def save(self) -> None:
        state = json.loads(json.dumps(self.replay.save()))
        start, furthest = self.replay.start, self.replay.stop
        self.checkpoints.append(Checkpoint(state, self.stream.copy(), start, furthest))

    @precondition(lambda self: self.checkpoints)
    @rule(which=st.integers(0, 100), die=st.booleans())
    def resume(self, which: int, die: bool) -> None:
        checkpoint = self.checkpoints[which % len(self.checkpoints)]
        if die:
            self.replay.close()
            self.replay = self.open()
        self.replay.load(checkpoint.state)
        self.stream = checkpoint.stream.copy()
        self.checkpoints = self.checkpoints[: self.checkpoints.index(checkpoint) + 1]
        surviving = checkpoint.furthest - self.slot_capacity - self.spare
        latest_start = np.minimum(np.maximum(checkpoint.start, surviving), self.replay.stop)
        assert (checkpoint.start <= self.replay.start).all()
        assert (self.replay.start <= latest_start).all()

    @invariant()
    def holds_the_newest_rows_and_nothing_else(self) -> None:
        assert self.replay.stop.tolist() == self.stream.lengths
        held = [
            stop - start for start, stop in zip(self.replay.start, self.replay.stop, strict=True)
        ]
        assert 0 <= min(held) <= max(held) <= self.slot_capacity
        assert len(self.replay) == sum(held)
        assert self.replay.num_windows(3).tolist() == [max(0, rows - 2) for rows in held]
        for length in (1, 3):
            assert_holds(self.replay, self.stream, length)

    def teardown(self) -> None:
        if hasattr(self, "replay"):
            self.replay.close()
            self.patch.undo()
            self.directory.cleanup()


TestReplayLife = ReplayLife.TestCase
TestReplayLife.settings = settings(
    max_examples=30, stateful_step_count=15, deadline=None, derandomize=True
)
