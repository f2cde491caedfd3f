"""`replay.json`: which rows, and how many, a replay directory was made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from wmrun.replay.errors import ReplayError

FORMAT = 1


def read_manifest(directory: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of the replay in the directory, or None if it holds none.

    Raises `ReplayError` listing every key in which it differs from what is wanted.
    """
    path = directory / "replay.json"
    if not path.exists():
        return None
    stored: dict[str, Any] = json.loads(path.read_text())
    stored.setdefault("entries", {})  # replays from before agents kept any
    wanted = {"format": FORMAT, **wanted}
    compared = {key: stored.get(key) for key in wanted}
    if compared != wanted:
        raise ReplayError(
            f"The replay in {directory} was written for other rows:\n"
            + "\n".join(_differences(compared, wanted)),
            hint="Resume with the settings that the run began with, or start a new run.",
        )
    return stored


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Declare the directory complete: all its files exist in full size."""
    temporary = directory / "replay.json.tmp"
    temporary.write_text(json.dumps({"format": FORMAT, **manifest}, indent=1))
    temporary.replace(directory / "replay.json")


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    was, now = _flat(stored), _flat(wanted)
    return [
        f"  {key}: {was.get(key, 'absent')} there, {now.get(key, 'absent')} in this run"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]


def _flat(manifest: dict[str, Any]) -> dict[str, str]:
    rows = {**manifest.get("rows", {}), **manifest.get("entries", {})}
    sizes = {key: str(v) for key, v in manifest.items() if key not in ("rows", "entries")}
    return sizes | {key: f"{np.dtype(row['dtype'])} {row['shape']}" for key, row in rows.items()}
