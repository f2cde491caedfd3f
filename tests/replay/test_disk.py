from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wmrun.errors import ExitCode
from wmrun.replay.disk import check_disk, format_bytes
from wmrun.replay.errors import ReplayTooLarge


def test_a_replay_that_fits_is_accepted_in_a_directory_yet_to_be_made(tmp_path: Path):
    check_disk(tmp_path / "runs" / "new" / "replay", 1000, capacity=10)
    assert not (tmp_path / "runs").exists()


def test_a_replay_that_cannot_fit_is_refused_with_the_numbers(tmp_path: Path, monkeypatch):
    usage = shutil._ntuple_diskusage(500 * 10**9, 490 * 10**9, 10 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ReplayTooLarge) as raised:
        check_disk(tmp_path / "replay", 24_680_000_000, capacity=2_000_000)
    assert raised.value.exit_code == ExitCode.CONFIG
    assert str(raised.value) == (
        f"A replay of 2,000,000 steps needs 24.7 GB in {tmp_path}/replay, where 10 GB are free "
        "(a run may claim 80% of that).\n"
        # 0.8 × 10e9 / 12,340 bytes per step = 648,298
        "Set replay.capacity=640000 (about what fits), or write the run to a larger disk."
    )


def test_what_a_resumed_run_already_allocated_counts_as_free(tmp_path: Path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1_000_000, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ReplayTooLarge):
        check_disk(tmp_path, 1_500_000, capacity=100)
    (tmp_path / "large_image.bin").write_bytes(b"x" * 1_000_000)
    check_disk(tmp_path, 1_500_000, capacity=100)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (12_288, "12.3 kB"), (999_600, "1 MB"), (2.4e13, "24 TB")],
)
def test_bytes_are_written_with_three_digits(count: float, text: str):
    assert format_bytes(count) == text
