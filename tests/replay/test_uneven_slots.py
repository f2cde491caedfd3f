"""Slots that do not advance together: what is stored, and what a resumed run finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wmrun.replay import rowfile
from wmrun.replay.errors import ReplayError

from .recording import assert_holds, fill, only, open_replay, record, transitions

NUM_ENVS = 3
CALLS_OF_A_RUN = [[0, 1, 2]] * 20 + [[0, 2]] * 17 + [[0]] * 13


def test_every_slot_has_its_own_stream_and_its_own_length(tmp_path: Path):
    with open_replay(tmp_path, capacity=12, num_envs=NUM_ENVS) as replay:
        stream = record(replay, [[0, 1, 2], [0], [0, 2], [2], [0, 2], [0], [0]])
        assert stream.lengths == [6, 1, 4]
        assert replay.stop.tolist() == [6, 1, 4]
        assert replay.start.tolist() == [2, 0, 0]  # a slot keeps 4 rows
        assert len(replay) == 4 + 1 + 4
        assert replay.num_windows(3).tolist() == [2, 0, 2]
        for length in (1, 2, 3, 4):
            assert_holds(replay, stream, length)


def test_a_window_of_several_rows_is_read_for_slots_of_different_lengths_at_once(tmp_path: Path):
    with open_replay(tmp_path, capacity=12, num_envs=NUM_ENVS) as replay:
        stream = record(replay, [[0, 1, 2], [0], [0, 2], [2], [0, 2], [0], [0]])
        slots, starts = np.array([2, 0, 2, 0]), np.array([1, 3, 0, 2])
        batch = replay.read(slots, starts, 3)
        for b, (slot, start) in enumerate(zip(slots, starts, strict=True)):
            for key, expected in stream.window(slot, start, 3).items():
                np.testing.assert_array_equal(batch[key][b], expected, key)


def test_a_broken_slot_without_a_row_of_its_own_ends_its_newest_stored_row(tmp_path: Path):
    with open_replay(tmp_path, capacity=30, num_envs=NUM_ENVS) as replay:
        quiet = [transitions(number, NUM_ENVS) for number in range(3)]
        for rows in quiet:
            rows.is_last[:] = False
        replay.append(only([0, 1], quiet[0]))
        replay.append(only([1], quiet[1]))
        rows = only([1], quiet[2])
        object.__setattr__(rows, "broken", (0, 2))
        replay.append(rows)
        assert replay.stop.tolist() == [1, 3, 0]
        ends = [
            replay.read(np.array([s]), np.array([0]), n)["is_last"] for s, n in ((0, 1), (1, 3))
        ]
        assert [flags.tolist() for flags in ends] == [[[True]], [[False] * 3]]


def test_slots_that_come_twice_unordered_or_do_not_exist_are_refused(tmp_path: Path):
    with open_replay(tmp_path, capacity=30, num_envs=NUM_ENVS) as replay:
        for slots in ([1, 1], [1, 0], [-1, 0], [2, 3]):
            rows = only([0, 1], transitions(0, NUM_ENVS))
            object.__setattr__(rows, "slots", np.array(slots))
            with pytest.raises(ValueError, match=r"slots are .*, expected ascending ones of 3"):
                replay.append(rows)
        assert not replay.stop.any()


@pytest.mark.parametrize("chunk_rows", [1, 3, 64])
def test_entries_land_in_their_rows_while_some_slots_wait_and_others_wrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
):
    monkeypatch.setattr(rowfile, "CHUNK_ROWS", chunk_rows)
    rng = np.random.default_rng(chunk_rows)
    expected = np.zeros((NUM_ENVS, 200, 2), np.int32)
    with open_replay(tmp_path, 30, NUM_ENVS, entries={"mark": ((2,), np.int32)}) as replay:
        for number in range(120):
            slots = np.flatnonzero(rng.random(NUM_ENVS) < [0.9, 0.5, 0.1])
            if not slots.size:
                continue
            replay.append(only(slots, transitions(number, NUM_ENVS)))
            if number % 7 == 0:
                replay.flush()
            if number % 3 == 0:
                slots = np.flatnonzero(replay.stop > 0)  # of which some have no row that waits
            newest = rng.integers(1000, size=(len(slots), 2), dtype=np.int32)
            replay.write_newest(slots, {"mark": newest})
            expected[slots, replay.stop[slots] - 1] = newest
            long_enough = np.flatnonzero(replay.stop - replay.start >= 2)
            windows = rng.integers(1000, size=(len(long_enough), 2, 2), dtype=np.int32)
            starts = replay.start[long_enough] + rng.integers(-1, 2, size=len(long_enough))
            replay.write(long_enough, starts, {"mark": windows})
            for slot, start, window in zip(long_enough, starts, windows, strict=True):
                gone = max(0, replay.start[slot] - start)
                expected[slot, start + gone : start + 2] = window[gone:]
            for slot, (start, stop) in enumerate(zip(replay.start, replay.stop, strict=True)):
                stored = replay.read(np.array([slot]), start[None], int(stop - start))["mark"][0]
                np.testing.assert_array_equal(stored, expected[slot, start:stop])


def test_a_slot_that_ran_ahead_loses_rows_and_the_others_come_back_whole(tmp_path: Path):
    with open_replay(tmp_path, capacity=96, num_envs=NUM_ENVS) as replay:
        stream = fill(replay, 50)
        state = json.loads(json.dumps(replay.save()))
        record(replay, [[1]] * 13 + [[0, 1]])
    with open_replay(tmp_path, capacity=96, num_envs=NUM_ENVS) as replay:
        replay.load(state)
        assert replay.stop.tolist() == [50, 50, 50]
        # 32 rows of a slot, and a stride of 2 more, have places of their own.
        start = replay.start
        assert 64 - 34 <= start[1] <= 64 - 32
        assert 50 - 32 <= start[0] <= 51 - 32
        assert start[2] == 50 - 32
        assert_holds(replay, stream, 18)


def test_a_row_that_destroys_nothing_does_not_hide_one_that_does(tmp_path: Path):
    with open_replay(tmp_path, capacity=64, num_envs=2) as replay:
        stream = record(replay, [[0, 1]] * 5 + [[1]] * 28)
        state = replay.save()
        record(replay, [[0, 1]] * 10)  # rows of slot 0 go where none was, of slot 1 over others
    with open_replay(tmp_path, capacity=64, num_envs=2) as replay:
        replay.load(state)
        assert replay.start[0] == 0
        assert 43 - 34 <= replay.start[1] <= 43 - 32
        assert_holds(replay, stream, 3)


def test_episodes_that_were_cut_after_the_checkpoint_go_on_in_every_slot_on_load(tmp_path: Path):
    with open_replay(tmp_path, capacity=30, num_envs=NUM_ENVS) as replay:
        for number, slots in enumerate([[0, 1, 2], [2], [1, 2]]):
            rows = only(slots, transitions(number, NUM_ENVS))
            rows.is_last[:] = False
            replay.append(rows)
        state = replay.save()
        replay.append(transitions(3, NUM_ENVS, broken=range(NUM_ENVS)))
        replay.flush()
    with open_replay(tmp_path, capacity=30, num_envs=NUM_ENVS) as replay:
        replay.load(state)
        newest = replay.read(np.arange(NUM_ENVS), replay.stop - 1, 1)
        assert not newest["is_last"].any()


def test_a_killed_process_comes_back_with_every_slot_as_long_as_its_checkpoint(tmp_path: Path):
    code = f"""
import json, os, signal
from pathlib import Path
from tests.replay.recording import open_replay, record
from tests.replay.test_uneven_slots import CALLS_OF_A_RUN
replay = open_replay(Path({str(tmp_path / "replay")!r}), capacity=96, num_envs=3)
record(replay, CALLS_OF_A_RUN)
Path({str(tmp_path / "state.json")!r}).write_text(json.dumps(replay.save()))
record(replay, [[0, 2]] * 7 + [[2]] * 70)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with (
        open_replay(tmp_path / "expected", capacity=96, num_envs=NUM_ENVS) as other,
        open_replay(tmp_path / "replay", capacity=96, num_envs=NUM_ENVS) as replay,
    ):
        stream = record(other, CALLS_OF_A_RUN)
        replay.load(json.loads((tmp_path / "state.json").read_text()))
        assert replay.stop.tolist() == stream.lengths == [50, 20, 37]
        assert replay.start[2] == 37, "all of its rows were overwritten"
        assert 57 - 34 <= replay.start[0] <= 57 - 32
        assert replay.start[1] == 0
        assert_holds(replay, stream, 5)
        rows = only([2], transitions(0, NUM_ENVS))
        replay.append(rows)
        stream.append(rows)
        assert_holds(replay, stream, 1)


def test_a_checkpoint_is_void_when_any_slot_went_back_behind_it(tmp_path: Path):
    with open_replay(tmp_path, capacity=90, num_envs=NUM_ENVS) as replay:
        record(replay, [[0, 1, 2]] * 5)
        early = replay.save()
        record(replay, [[1]])
        late = replay.save()
        replay.load(early)
        record(replay, [[0]])
        with pytest.raises(ReplayError, match=r"holds \[5, 5, 5\] saved .* speaks of \[5, 6, 5\]"):
            replay.load(late)


def test_a_replay_saved_while_all_slots_had_one_length_is_resumed(tmp_path: Path):
    with open_replay(tmp_path, capacity=96, num_envs=NUM_ENVS) as replay:
        stream = fill(replay, 50)
        is_last = replay.save()["is_last"]
    lost, saved = np.fromfile(tmp_path / "marks.bin", "<i8").reshape(NUM_ENVS, 2)[0]
    np.array([lost, saved], "<i8").tofile(tmp_path / "marks.bin")
    with open_replay(tmp_path, capacity=96, num_envs=NUM_ENVS) as replay:
        replay.load({"stop": 50, "num_envs": NUM_ENVS, "is_last": is_last})
        assert replay.stop.tolist() == [50] * NUM_ENVS
        assert_holds(replay, stream, 32)
        rows = only([1], transitions(99, NUM_ENVS))
        replay.append(rows)
        stream.append(rows)
        state = replay.save()
    with open_replay(tmp_path, capacity=96, num_envs=NUM_ENVS) as replay:
        replay.load(state)
        assert replay.stop.tolist() == [50, 51, 50]
        assert_holds(replay, stream, 5)
