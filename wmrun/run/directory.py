"""The directory of one run: where it lies, what run.json says, who may write into it."""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wmrun.errors import RunError
from wmrun.run.files import write_atomically

RUNS = Path("runs")
_RECORD_LOCK = threading.Lock()


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside `runs/<name>/<run-id>/`."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def replay(self) -> Path:
        return self.path / "replay"

    @property
    def env_logs(self) -> Path:
        return self.path / "env_servers"

    @property
    def videos(self) -> Path:
        return self.path / "videos"

    def read_record(self) -> dict[str, Any]:
        """Return run.json. Raises `RunError` if it is missing or damaged."""
        record_file = self.path / "run.json"
        try:
            record: dict[str, Any] = json.loads(record_file.read_text())
        except FileNotFoundError:
            raise RunError(
                f"{self.path} is not a run directory: it has no run.json",
                hint="`wmrun run FILE` creates runs under runs/<name>/<run-id>/.",
            ) from None
        except json.JSONDecodeError as error:
            raise RunError(f"{record_file} is damaged: {error}") from error
        return record

    def update_record(self, **changes: Any) -> None:
        """Merge `changes` into run.json, never leaving a half-written file."""
        record_file = self.path / "run.json"
        with _RECORD_LOCK:  # the tracker's thread writes too
            record = json.loads(record_file.read_text()) if record_file.exists() else {}
            write_atomically(record_file, json.dumps({**record, **changes}, indent=2) + "\n")

    def claim(self) -> None:
        """Note this process as the run's writer. Raises `RunError` if another live one holds it."""
        owner = self.read_record().get("process") or {}
        if owner.get("pid") != os.getpid() and _is_alive(owner):
            raise RunError(
                f"run {self.run_id} is being written by process {owner['pid']} on {owner['host']}",
                hint=f"Stop that process first (kill -TERM {owner['pid']} lets it checkpoint).",
            )
        self.update_record(process=_this_process())

    def discard(self) -> None:
        """Remove a run that never began, and its parent if nothing else is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in (self.path.parent, self.path.parent.parent):
            try:
                parent.rmdir()
            except OSError:
                return


def create_run(name: str, config_yaml: str, *, root: Path = RUNS) -> RunDirectory:
    """Make a fresh `root/name/<time>-<random>/` with the resolved config and run.json in it."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    path = root / name / f"{stamp}-{secrets.token_hex(2)}"
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise RunError(f"{path} exists already; a run directory is never overwritten") from None
    except OSError as error:
        raise RunError(f"cannot create the run directory {path}: {error.strerror}") from error
    run = RunDirectory(path)
    run.config_file.write_text(config_yaml)
    run.update_record(
        run_id=run.run_id,
        name=name,
        status="STARTING",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=sys.argv,
        process=_this_process(),
    )
    return run


def find_run(reference: str, *, root: Path = RUNS) -> RunDirectory:
    """Resolve a path, a run id, or an experiment name (its newest run) to a run directory.

    Raises `RunError` with the closest match when nothing fits.
    """
    path = Path(reference)
    if path.is_dir() and (path / "run.json").exists():
        return RunDirectory(path)
    by_id = {run.name: run for run in sorted(root.glob("*/*")) if (run / "run.json").exists()}
    if reference in by_id:
        return RunDirectory(by_id[reference])
    of_name = [run for run in by_id.values() if run.parent.name == reference]
    if of_name:
        return RunDirectory(of_name[-1])
    raise RunError(f"there is no run {reference!r}", hint=_runs_hint(reference, by_id, root))


def _runs_hint(reference: str, by_id: Mapping[str, Path], root: Path) -> str:
    if not by_id:
        return f"{root}/ holds no runs yet; `wmrun run FILE` starts one."
    known = [*by_id, *{path.parent.name for path in by_id.values()}]
    close = difflib.get_close_matches(reference, known, n=1)
    newest = list(by_id.values())[-1]
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Give a run directory, a run id or an experiment name; the newest is {newest}."


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": os.uname().nodename}


def _is_alive(process: Mapping[str, Any]) -> bool:
    if process.get("host") != os.uname().nodename:
        return False
    try:
        os.kill(int(process["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
