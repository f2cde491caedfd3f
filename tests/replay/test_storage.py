from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wmrun.replay import rowfile
from wmrun.replay.errors import ReplayError
from wmrun.replay.rows import row_spec
from wmrun.replay.storage import Replay

from .recording import Stream, assert_holds, fill, open_replay, spec, transitions


def test_every_window_equals_the_appended_rows_before_and_after_the_ring_wraps(tmp_path: Path):
    with open_replay(tmp_path, capacity=24, num_envs=2) as replay:
        stream = Stream(2)
        for number in range(40):
            rows = transitions(number, 2)
            replay.append(rows)
            stream.append(rows)
            assert replay.start.tolist() == [max(0, number + 1 - 12)] * 2
            assert replay.stop.tolist() == [number + 1] * 2
            assert len(replay) == 2 * min(12, number + 1)
            assert replay.num_windows(5).tolist() == [max(0, min(12, number + 1) - 4)] * 2
            if number >= 4:
                assert_holds(replay, stream, 5)


def test_broken_slots_end_their_newest_stored_row_and_no_other(tmp_path: Path):
    with open_replay(tmp_path, capacity=30, num_envs=3) as replay:
        quiet = [transitions(number, 3) for number in range(3)]
        for rows in quiet:
            rows.is_last[:] = False
        replay.append(quiet[0])
        replay.append(quiet[1])
        object.__setattr__(quiet[2], "broken", (0, 2))
        replay.append(quiet[2])
        stored = replay.read(np.arange(3), np.zeros(3, int), 3)["is_last"]
        assert stored.tolist() == [[False, True, False], [False] * 3, [False, True, False]]


def test_broken_slots_of_an_empty_replay_change_nothing(tmp_path: Path):
    with open_replay(tmp_path, capacity=10, num_envs=2) as replay:
        rows = transitions(0, 2, broken=(0, 1))
        rows.is_last[:] = False
        replay.append(rows)
        assert not replay.read(np.arange(2), np.zeros(2, int), 1)["is_last"].any()


def test_rows_after_the_checkpoint_are_dropped_on_load(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        stream = fill(replay, 7)
        state = json.loads(json.dumps(replay.save()))
        for number in range(100, 105):
            replay.append(transitions(number, 2, broken=(0, 1)))
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        assert len(replay) == 0
        replay.load(state)
        assert len(replay) == 14
        assert_holds(replay, stream, 3)
        assert_holds(replay, stream, 7)


def test_an_episode_cut_after_the_checkpoint_is_whole_again_on_load(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        rows = transitions(0, 2)
        rows.is_last[:] = [False, True]
        replay.append(rows)
        state = replay.save()
        replay.append(transitions(1, 2, broken=(0, 1)))
        replay.flush()
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        replay.load(state)
        stored = replay.read(np.arange(2), np.zeros(2, int), 1)["is_last"]
        assert stored.tolist() == [[False], [True]]


@pytest.mark.parametrize("chunk_rows", [1, 64])
@pytest.mark.parametrize("extra", [1, 2, 3, 4, 13])
def test_rows_overwritten_after_the_checkpoint_are_missing_after_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int, extra: int
):
    monkeypatch.setattr(rowfile, "CHUNK_ROWS", chunk_rows)
    with open_replay(tmp_path, capacity=64, num_envs=2) as replay:
        stream = fill(replay, 50)
        state = replay.save()
        for number in range(100, 100 + extra):
            replay.append(transitions(number, 2))
    with open_replay(tmp_path, capacity=64, num_envs=2) as replay:
        replay.load(state)
        assert replay.stop.tolist() == [50, 50]
        # The newest 32 rows, and a stride of 2 more, have places of their own.
        assert 50 + extra - 34 <= replay.start[0] == replay.start[1] <= 50 + extra - 32
        assert_holds(replay, stream, 4)
        for number in range(200, 220):
            rows = transitions(number, 2)
            replay.append(rows)
            stream.append(rows)
            assert len(replay) <= 64
            assert_holds(replay, stream, 4)
        assert len(replay) == 64


def test_spare_rows_make_a_checkpoint_of_a_full_replay_come_back_whole(tmp_path: Path):
    with open_replay(tmp_path, capacity=64, num_envs=2, spare=20) as replay:
        stream = fill(replay, 50)
        state = replay.save()
        for number in range(100, 110):
            replay.append(transitions(number, 2))
    with open_replay(tmp_path, capacity=64, num_envs=2, spare=6) as replay:
        replay.load(state)
        assert (replay.start.tolist(), replay.stop.tolist()) == ([18, 18], [50, 50])
        assert_holds(replay, stream, 32)


def test_a_killed_process_knows_which_rows_it_overwrote(tmp_path: Path):
    code = f"""
import json, os, signal
from pathlib import Path
from tests.replay.recording import fill, open_replay, transitions
replay = open_replay(Path({str(tmp_path / "replay")!r}), capacity=64, num_envs=2)
fill(replay, 50)
Path({str(tmp_path / "state.json")!r}).write_text(json.dumps(replay.save()))
for number in range(100, 117):
    replay.append(transitions(number, 2))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with (
        open_replay(tmp_path / "expected", capacity=64, num_envs=2) as other,
        open_replay(tmp_path / "replay", capacity=64, num_envs=2) as replay,
    ):
        stream = fill(other, 50)
        replay.load(json.loads((tmp_path / "state.json").read_text()))
        assert replay.stop.tolist() == [50, 50]
        assert 67 - 34 <= replay.start[0] == replay.start[1] <= 67 - 32
        assert_holds(replay, stream, 6)


def test_a_checkpoint_of_an_abandoned_continuation_is_refused(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        fill(replay, 5)
        early = replay.save()
        replay.append(transitions(5, 2))
        late = replay.save()
        replay.load(early)
        replay.append(transitions(99, 2))
        with pytest.raises(ReplayError, match=r"holds \[5, 5\] saved .* speaks of \[6, 6\]"):
            replay.load(late)


def test_a_replay_without_the_rows_of_the_checkpoint_is_refused(tmp_path: Path):
    with open_replay(tmp_path / "old", capacity=40, num_envs=2) as replay:
        fill(replay, 5)
        state = replay.save()
    with (
        open_replay(tmp_path / "new", capacity=40, num_envs=2) as replay,
        pytest.raises(ReplayError, match=r"holds \[0, 0\] saved rows in its env slots"),
    ):
        replay.load(state)


def test_a_directory_of_other_rows_is_refused_with_every_difference(tmp_path: Path):
    open_replay(tmp_path, capacity=40, num_envs=2).close()
    other = row_spec({"image": ((64, 64, 3), np.uint8), "joints": ((6,), np.float32)}, 2)
    with pytest.raises(ReplayError) as raised:
        Replay(tmp_path, other, capacity=60, num_envs=2)
    assert raised.value.message == (
        f"The replay in {tmp_path} was written for other rows:\n"
        "  capacity: 40 there, 60 in this run\n"
        "  image: uint8 [20, 20, 3] there, uint8 [64, 64, 3] in this run\n"
        "  joints: absent there, float32 [6] in this run\n"
        "  vector: float32 [3] there, absent in this run"
    )


def test_keys_may_come_in_another_order_after_resume(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        stream = fill(replay, 5)
        state = replay.save()
    turned = dict(reversed(spec().items()))
    with Replay(tmp_path, turned, capacity=40, num_envs=2) as replay:
        replay.load(state)
        assert_holds(replay, stream, 5)


def test_a_missing_replay_file_is_named(tmp_path: Path):
    open_replay(tmp_path, capacity=40, num_envs=2).close()
    (tmp_path / "large_image.bin").unlink()
    with pytest.raises(ReplayError, match=r"large_image\.bin: No such file"):
        open_replay(tmp_path, capacity=40, num_envs=2)


def test_a_shortened_replay_file_is_named(tmp_path: Path):
    open_replay(tmp_path, capacity=40, num_envs=2).close()
    os.truncate(tmp_path / "large_image.bin", 1200)
    with pytest.raises(ReplayError, match=r"large_image\.bin: it has 1,200 bytes, expected 50,400"):
        open_replay(tmp_path, capacity=40, num_envs=2)


def test_a_write_that_the_disk_refuses_is_reported_and_not_counted(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        stream = fill(replay, 21)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(ReplayError, match=r"Cannot write the replay file .*\.bin"):
                replay.append(transitions(99, 2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert replay.stop.tolist() == [21, 21]
        for number in range(21, 50):
            replay.append(transitions(number, 2))
            stream.append(transitions(number, 2))
        assert_holds(replay, stream, 5)


def test_a_value_of_another_shape_or_kind_is_refused(tmp_path: Path):
    with open_replay(tmp_path, capacity=40, num_envs=2) as replay:
        rows = transitions(0, 2)
        rows.obs["image"] = rows.obs["image"].astype(np.float32)
        with pytest.raises(ValueError, match=r"'image' is float32 .2, 20, 20, 3., expected uint8"):
            replay.append(rows)
        rows.obs.pop("image")
        with pytest.raises(ValueError, match=r"rows hold .*, the replay .*image"):
            replay.append(rows)
        assert not replay.stop.any()


def test_an_observation_called_like_another_part_of_the_row_is_refused():
    with pytest.raises(ReplayError, match="observation called 'reward'"):
        row_spec({"reward": ((), np.float32)}, action_size=1)


def test_files_are_sparse_until_rows_are_written(tmp_path: Path):
    image = {"image": ((64, 64, 3), np.uint8)}
    with Replay(tmp_path, row_spec(image, 1), capacity=2_000_000, num_envs=4):
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) > 24e9
        assert sum(f.stat().st_blocks * 512 for f in tmp_path.iterdir()) < 1e5


def test_projected_bytes_are_those_of_the_files(tmp_path: Path):
    with open_replay(tmp_path, capacity=1000, num_envs=3, spare=50):
        files = sum(f.stat().st_size for f in tmp_path.glob("*.bin"))
    assert Replay.projected_bytes(spec(), 1000, num_envs=3, spare=50) == files
    # 333 rows per slot, 17 spare, a stride of 20; 1200 image bytes, 27 others padded to 28
    assert files == 3 * (333 + 17 + 20) * (1200 + 28)


def test_reading_rows_does_not_make_them_memory_of_the_process(tmp_path: Path):
    def resident_file_kib() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0])

    image = {"image": ((64, 64, 3), np.uint8)}
    with Replay(tmp_path, row_spec(image, 1), capacity=2000, num_envs=1) as replay:
        rows = transitions(0, 1)
        object.__setattr__(rows, "action", rows.action[:, :1])
        rows.obs.clear()
        rows.obs["image"] = np.full((1, 64, 64, 3), 7, np.uint8)
        for _ in range(2000):
            replay.append(rows)
        batch = replay.empty_batch(1, 50)
        replay.read_into(batch, np.array([0]), np.array([0]))
        before = resident_file_kib()
        for start in range(0, 2000, 50):
            replay.read_into(batch, np.array([0]), np.array([start]))
        assert (batch["image"] == 7).all()
        assert resident_file_kib() - before < 4096  # the rows are 24 MB
