"""What agents keep with rows: written late and again, across chunks and the end of the ring."""

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
from wmrun.replay.rows import EntrySpec, RowLayout
from wmrun.replay.storage import Replay

from .recording import assert_holds, fill, only, open_replay, spec, transitions

ENTRIES: EntrySpec = {"deter": ((5,), np.float32), "stoch": ((2, 3), np.uint8)}


def values(rng: np.random.Generator, *axes: int) -> dict[str, np.ndarray]:
    return {
        "deter": rng.standard_normal((*axes, 5)).astype(np.float32),
        "stoch": rng.integers(0, 256, (*axes, 2, 3), dtype=np.uint8),
    }


class Plain:
    """Entries of all rows of all slots in arrays that never wrap."""

    def __init__(self, num_envs: int, rows: int) -> None:
        self.arrays = {
            "deter": np.zeros((num_envs, rows, 5), np.float32),
            "stoch": np.zeros((num_envs, rows, 2, 3), np.uint8),
        }

    def write(self, slot: int, row: int, key: str, value: np.ndarray) -> None:
        self.arrays[key][slot, row] = value

    def assert_equals(self, replay: Replay) -> None:
        for slot, (start, stop) in enumerate(zip(replay.start, replay.stop, strict=True)):
            held = replay.read(np.array([slot]), start[None], int(stop - start))
            for key, expected in self.arrays.items():
                assert held[key].dtype == expected.dtype
                np.testing.assert_array_equal(held[key][0], expected[slot, start:stop], key)


def test_entries_are_zero_until_written_also_where_older_rows_had_some(tmp_path: Path):
    with open_replay(tmp_path, capacity=12, num_envs=2, entries=ENTRIES) as replay:
        fill(replay, 6)
        ones = {"deter": np.ones((2, 6, 5), np.float32), "stoch": np.ones((2, 6, 2, 3), np.uint8)}
        replay.write(np.arange(2), np.zeros(2, int), ones)
        for number in range(6, 9):
            replay.append(transitions(number, 2))
        held = replay.read(np.arange(2), np.full(2, 3), 6)
        for key in ENTRIES:
            assert (held[key][:, :3] == 1).all()
            assert (held[key][:, 3:] == 0).all()


@pytest.mark.parametrize("chunk_rows", [1, 3, 64])
def test_writes_land_in_their_rows_while_the_ring_wraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
):
    monkeypatch.setattr(rowfile, "CHUNK_ROWS", chunk_rows)
    rng = np.random.default_rng(chunk_rows)
    plain = Plain(2, 90)
    with open_replay(tmp_path, capacity=40, num_envs=2, entries=ENTRIES) as replay:
        for number in range(90):
            replay.append(transitions(number, 2))
            if number % 5 == 0:
                replay.flush()
            newest = values(rng, 2)
            replay.write_newest(np.arange(2), newest)
            for key, value in newest.items():
                plain.write(slice(None), number, key, value)
            if number % 7 == 0:
                replay.flush()
            if number < 5:
                continue
            slots = rng.integers(2, size=3)
            starts = rng.integers(replay.start[slots], replay.stop[slots] - 4)
            windows = values(rng, 3, 5)
            replay.write(slots, starts, windows)
            for key, window in windows.items():
                for b, (slot, start) in enumerate(zip(slots, starts, strict=True)):
                    plain.write(slot, slice(start, start + 5), key, window[b])
            plain.assert_equals(replay)


def test_writing_entries_leaves_the_rows_alone(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2, entries=ENTRIES) as replay:
        stream = fill(replay, 30)
        rng = np.random.default_rng(0)
        replay.write(np.array([0, 1]), np.array([12, 20]), values(rng, 2, 6))
        replay.write_newest(np.arange(2), values(rng, 2))
        assert_holds(_WithoutEntries(replay), stream, 5)


class _WithoutEntries:
    """A replay of which only the rows are looked at."""

    def __init__(self, replay: Replay) -> None:
        self.start, self.stop, self.num_envs = replay.start, replay.stop, replay.num_envs
        self._replay = replay

    def read(self, slots: np.ndarray, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        batch = self._replay.read(slots, starts, length)
        assert set(batch) == {*spec(), *ENTRIES}
        return batch


def test_rows_that_are_gone_are_skipped_and_the_rest_of_their_window_is_written(tmp_path: Path):
    plain = Plain(2, 30)
    with open_replay(tmp_path, capacity=24, num_envs=2, entries=ENTRIES) as replay:
        fill(replay, 30)  # rows 18..29 are held
        windows = values(np.random.default_rng(0), 3, 4)
        replay.write(np.array([0, 1, 1]), np.array([16, 2, 26]), windows)
        for key, window in windows.items():
            plain.write(0, slice(18, 20), key, window[0, 2:])
            plain.write(1, slice(26, 30), key, window[2])
        plain.assert_equals(replay)


def test_some_of_the_entries_may_be_written(tmp_path: Path):
    with open_replay(tmp_path, capacity=24, num_envs=2, entries=ENTRIES) as replay:
        fill(replay, 3)
        replay.write_newest(np.arange(2), {"stoch": np.full((2, 2, 3), 9, np.uint8)})
        held = replay.read(np.arange(2), np.full(2, 2), 1)
        assert (held["stoch"] == 9).all()
        assert (held["deter"] == 0).all()


def test_entries_come_back_with_a_checkpoint_as_they_are_on_disk(tmp_path: Path):
    plain = Plain(2, 10)
    rng = np.random.default_rng(0)
    with open_replay(tmp_path, capacity=24, num_envs=2, entries=ENTRIES) as replay:
        fill(replay, 10)
        state = json.loads(json.dumps(replay.save()))
        later = values(rng, 2, 4)  # after the checkpoint, into rows that it speaks of
        replay.write(np.arange(2), np.full(2, 3), later)
        replay.append(transitions(11, 2))
        replay.write_newest(np.arange(2), values(rng, 2))
    for key, window in later.items():
        plain.write(slice(None), slice(3, 7), key, window)
    with open_replay(tmp_path, capacity=24, num_envs=2, entries=ENTRIES) as replay:
        replay.load(state)
        plain.assert_equals(replay)


def test_a_killed_process_leaves_every_row_and_entry_of_its_checkpoint(tmp_path: Path):
    code = f"""
import json, os, signal
import numpy as np
from pathlib import Path
from tests.replay.recording import fill, open_replay, transitions
from tests.replay.test_entries import ENTRIES, values
replay = open_replay(Path({str(tmp_path / "replay")!r}), 64, 2, entries=ENTRIES)
fill(replay, 20)
replay.write(np.arange(2), np.full(2, 15), values(np.random.default_rng(5), 2, 5))
Path({str(tmp_path / "state.json")!r}).write_text(json.dumps(replay.save()))
replay.append(transitions(100, 2))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    plain = Plain(2, 20)
    for key, window in values(np.random.default_rng(5), 2, 5).items():
        plain.write(slice(None), slice(15, 20), key, window)
    with open_replay(tmp_path / "replay", 64, 2, entries=ENTRIES) as replay:
        replay.load(json.loads((tmp_path / "state.json").read_text()))
        plain.assert_equals(replay)


def test_entries_have_files_of_their_own_that_the_projection_counts(tmp_path: Path):
    with open_replay(tmp_path, 1000, 3, 50, entries=ENTRIES):
        files = {f.name: f.stat().st_size for f in tmp_path.glob("*.bin")}
    rows = 3 * (333 + 17 + 20)  # held, spare, a stride
    assert files["entry_deter.bin"] == rows * 20
    assert files["entry_stoch.bin"] == rows * 6
    needed = Replay.projected_bytes(spec(), 1000, num_envs=3, spare=50, entries=ENTRIES)
    assert needed == sum(size for name, size in files.items() if name != "marks.bin")


def test_a_replay_of_other_entries_is_refused(tmp_path: Path):
    open_replay(tmp_path, 24, 2, entries=ENTRIES).close()
    with pytest.raises(ReplayError, match=r"deter: float32 \[5\] there, absent in this run"):
        open_replay(tmp_path, 24, 2)


def test_a_replay_from_before_agents_kept_entries_can_be_opened(tmp_path: Path):
    with open_replay(tmp_path, 24, 2) as replay:
        stream, state = fill(replay, 5), replay.save()
    manifest = json.loads((tmp_path / "replay.json").read_text())
    del manifest["entries"]
    (tmp_path / "replay.json").write_text(json.dumps(manifest))
    with open_replay(tmp_path, 24, 2) as replay:
        replay.load(state)
        assert_holds(replay, stream, 5)


def test_an_entry_called_like_a_part_of_the_row_is_refused():
    with pytest.raises(ReplayError, match="an entry called 'reward'"):
        RowLayout(spec(), {"reward": ((), np.float32)})


def test_an_entry_of_another_name_shape_or_kind_is_refused(tmp_path: Path):
    with open_replay(tmp_path, 24, 2, entries=ENTRIES) as replay:
        fill(replay, 3)
        with pytest.raises(ValueError, match=r"no entry 'logit'; its entries: deter, stoch"):
            replay.write_newest(np.arange(2), {"logit": np.zeros((2, 5))})
        with pytest.raises(ValueError, match=r"'stoch' is float32 .*, expected uint8 .2, 2, 3."):
            replay.write_newest(np.arange(2), {"stoch": np.zeros((2, 2, 3), np.float32)})
        with pytest.raises(ValueError, match=r"'deter' is .*1, 2, 4.*, expected float32 .1, 2, 5."):
            replay.write(np.zeros(1, int), np.zeros(1, int), {"deter": np.zeros((1, 2, 4), "f4")})


def test_entries_for_the_newest_rows_need_rows(tmp_path: Path):
    with open_replay(tmp_path, 24, 2, entries=ENTRIES) as replay:
        replay.append(only([0], transitions(0, 2)))
        with pytest.raises(ReplayError, match="env slot 1, which has no rows"):
            replay.write_newest(np.arange(2), {"deter": np.zeros((2, 5), np.float32)})
