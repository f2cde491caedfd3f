"""MLflow as a tracker that training never waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from wmrun.config.schema import DEFAULT_TRACKING_URI
from wmrun.run.directory import RunDirectory
from wmrun.run.tracker import Counters, RunInfo, Status
from wmrun.tracking.mlflow_run import MlflowRun, Point, open_run

MAX_WAITING_POINTS = 200_000
"""Points kept while MLflow does not answer; older ones remain in metrics.jsonl only."""
FINISH_TIMEOUT_S = 60.0
RETRY_PAUSE_S = 5.0
"""Seconds between attempts to reach an MLflow that does not answer."""


@dataclass(frozen=True)
class _Artifact:
    path: Path
    folder: str


class MlflowTracker:
    """Sends metrics against env steps, the config, files and the status to an MLflow run.

    A thread of its own imports MLflow, opens the run and sends one batch per flush. No call waits
    for it or raises for it: while MLflow does not answer, points wait in memory (and stand in
    metrics.jsonl), one warning is shown, and later flushes catch up.

    Args:
        uri: tracking store, such as sqlite:///mlflow.db or http://host:5000.
        flush_every_s: seconds between batches.
    """

    def __init__(self, *, uri: str = DEFAULT_TRACKING_URI, flush_every_s: float = 5.0) -> None:
        self._uri = uri
        self._flush_every_s = flush_every_s
        self._points: deque[Point] = deque(maxlen=MAX_WAITING_POINTS)
        self._artifacts: deque[_Artifact] = deque()
        self._stop = threading.Event()
        self._status: Status | None = None
        self._run: MlflowRun | None = None
        self._warned = False
        self._lost = 0
        self._info: RunInfo | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self, run: RunInfo) -> None:
        self._info = run
        self._artifacts.append(_Artifact(run.config_file, ""))
        self._thread.start()

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        now = round(time.time() * 1000)
        values = {
            **metrics,
            "progress/agent_steps": float(counters.agent_steps),
            "progress/updates": float(counters.updates),
        }
        for name, value in values.items():
            self._lost += len(self._points) == MAX_WAITING_POINTS
            self._points.append(Point(name, float(value), now, counters.env_steps))

    def artifact(self, path: Path, folder: str = "") -> None:
        self._artifacts.append(_Artifact(path, folder))

    def finish(self, status: Status) -> None:
        self._status = status
        self._stop.set()
        self._thread.join(FINISH_TIMEOUT_S)
        unsent = len(self._points) + self._lost
        if self._thread.is_alive() or unsent:
            _warn(
                f"{unsent:,} points were not sent to MLflow at {self._uri}; metrics.jsonl has all"
            )

    def _work(self) -> None:
        while not self._stop.wait(self._flush_every_s if self._run else 0.0):
            if not self._attempt(self._flush):
                self._stop.wait(RETRY_PAUSE_S)
        if self._attempt(self._flush):
            self._attempt(self._end)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Run `action`; whatever MLflow raises becomes one warning."""
        try:
            action()
        except Exception as error:
            if not self._warned:
                self._warned = True
                reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
                _warn(f"MLflow at {self._uri} does not take the run's records ({reason})")
                _warn("training goes on; metrics.jsonl has every point and MLflow is tried again")
            return False
        return True

    def _flush(self) -> None:
        run = self._opened()
        while self._points:
            # Taken out only after MLflow has them: a batch that fails is sent again.
            batch = [self._points[index] for index in range(min(1000, len(self._points)))]
            run.send(batch)
            for _ in batch:
                self._points.popleft()
        while self._artifacts:
            run.upload(self._artifacts[0].path, self._artifacts[0].folder)
            self._artifacts.popleft()

    def _end(self) -> None:
        assert self._status is not None, "finish sets the status before it stops the thread"
        self._opened().end(self._status)

    def _opened(self) -> MlflowRun:
        if self._run is None:
            assert self._info is not None, "start comes before everything else"
            directory = RunDirectory(self._info.run_dir)
            record: dict[str, Any] = directory.read_record()
            self._run = open_run(self._uri, self._info, resumed=record.get("mlflow_run_id"))
            directory.update_record(mlflow_run_id=self._run.run_id, mlflow_uri=self._uri)
        return self._run


def _warn(text: str) -> None:
    Console(stderr=True).print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
