"""Whether a replay fits on its disk, asked before anything is started."""

from __future__ import annotations

import shutil
from pathlib import Path

from wmrun.replay.errors import ReplayTooLarge

USABLE = 0.8
"""Share of the free space that a replay may claim; the rest is for checkpoints and videos."""


def check_disk(directory: Path, bytes_needed: int, capacity: int) -> None:
    """Raise `ReplayTooLarge` unless `bytes_needed` for `capacity` steps fit under `directory`.

    The directory need not exist yet. What a replay already allocated in it counts as free.
    """
    free = free_bytes(directory)
    if bytes_needed <= USABLE * free:
        return
    fitting = int(capacity * USABLE * free / bytes_needed)
    fitting -= fitting % 10 ** max(0, len(str(fitting)) - 2)
    raise ReplayTooLarge(
        f"A replay of {capacity:,} steps needs {format_bytes(bytes_needed)} in {directory}, where "
        f"{format_bytes(free)} are free (a run may claim {USABLE:.0%} of that).",
        hint=f"Set replay.capacity={fitting} (about what fits), or write the run to a larger disk.",
    )


def free_bytes(directory: Path) -> int:
    """Return the bytes that a replay in `directory` may grow to, less any reserve."""
    return shutil.disk_usage(_existing(directory)).free + _allocated(directory)


def format_bytes(count: float) -> str:
    """Write a number of bytes for people, in decimal units as disks are sold: `24.6 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _existing(directory: Path) -> Path:
    for place in (directory, *directory.absolute().parents):
        if place.is_dir():
            return place
    return Path("/")


def _allocated(directory: Path) -> int:
    if not directory.is_dir():
        return 0
    return sum(512 * file.stat().st_blocks for file in directory.iterdir() if file.is_file())
