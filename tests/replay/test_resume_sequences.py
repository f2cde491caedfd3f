"""Random lives of a replay (append, cut episodes, checkpoint, die, resume) against plain lists."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wmrun.replay import rowfile

from .recording import Stream, assert_holds, open_replay, transitions


@dataclass
class Checkpoint:
    state: dict[str, Any]
    stream: Stream
    start: int
    furthest: int
    """Most rows that any continuation of this checkpoint has written."""


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
        self.stream = Stream()
        self.checkpoints: list[Checkpoint] = []
        self.number = 0

    def open(self):
        n = self.num_envs
        path = Path(self.directory.name)
        return open_replay(path, self.slot_capacity * n, n, self.spare * n)

    @rule(count=st.integers(1, 30), broken=st.sets(st.integers(0, 2)))
    def append(self, count: int, broken: set[int]) -> None:
        for _ in range(count):
            self.number += 1
            rows = transitions(self.number, self.num_envs, (s for s in broken if s < self.num_envs))
            broken = set()
            self.replay.append(rows)
            self.stream.append(rows)
        for checkpoint in self.checkpoints:
            checkpoint.furthest = max(checkpoint.furthest, len(self.stream.rows))

    @rule()
    def save(self) -> None:
        stop = len(self.stream.rows)
        state = self.replay.save()
        self.checkpoints.append(Checkpoint(state, self.stream.copy(), self.replay.start, stop))

    @precondition(lambda self: self.checkpoints)
    @rule(which=st.integers(0, 100), die=st.booleans())
    def resume(self, which: int, die: bool) -> None:
        checkpoint = self.checkpoints[which % len(self.checkpoints)]
        if die:
            self.replay.close()
            self.replay = self.open()
        self.replay.load(checkpoint.state)
        self.stream = checkpoint.stream.copy()
        now = len(self.stream.rows)
        self.checkpoints = [c for c in self.checkpoints if len(c.stream.rows) <= now]
        surviving = checkpoint.furthest - self.slot_capacity - self.spare
        latest_start = min(max(checkpoint.start, surviving), self.replay.stop)
        assert checkpoint.start <= self.replay.start <= latest_start

    @invariant()
    def holds_the_newest_rows_and_nothing_else(self) -> None:
        stop = len(self.stream.rows)
        assert self.replay.stop == stop
        assert len(self.replay) <= self.num_envs * min(stop, self.slot_capacity)
        length = min(3, stop - self.replay.start)
        assert self.replay.num_windows(3) == self.num_envs * max(0, stop - self.replay.start - 2)
        if length:
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
