"""MLflow as a tracker that training never waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from wmrun.config.schema import DEFAULT_TRACKING_URI
from wmrun.run.directory import RunDirectory
from wmrun.run.tracker import Counters, RunInfo, Status
from wmrun.tracking.jsonl import FILE, read_lines
from wmrun.tracking.mlflow_run import MlflowRun, create_run, find_run
from wmrun.tracking.mlflow_store import absolute_uri, connect
from wmrun.tracking.warn import reason, warn

READ_BYTES = 1 << 18
"""Bytes of metrics.jsonl that are sent before the place in it is noted."""
LONGEST_PAUSE_S = 60.0
"""Between attempts to reach an MLflow that does not answer."""
FINISH_TIMEOUT_S = 60.0
FINISH_ATTEMPTS = 3
FINISH_PAUSE_S = 1.0


class MlflowTracker:
    """Sends metrics against env steps, the config, files and the status to an MLflow run.

    A thread of its own imports MLflow, opens the run and follows metrics.jsonl, which
    `JsonlTracker` writes: one batch per flush. No call waits for MLflow or raises for it. While it
    does not answer, one warning is shown and the points stay in the file; how far it was sent is
    kept in run.json, so later flushes and resumed runs catch up.

    Args:
        uri: tracking store, such as sqlite:///mlflow.db or http://host:5000.
        flush_every_s: seconds between batches.
    """

    def __init__(self, *, uri: str = DEFAULT_TRACKING_URI, flush_every_s: float = 5.0) -> None:
        self._uri = uri
        self._flush_every_s = flush_every_s
        self._artifacts: deque[tuple[Path, str]] = deque()
        self._stop = threading.Event()
        self._status: Status = "FAILED"
        self._warned = False
        self._ended = False
        self._run: MlflowRun | None = None
        self._sent_bytes = 0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self, run: RunInfo) -> None:
        self._info = run
        self._started_s = time.time()
        self._directory = RunDirectory(run.run_dir)
        self._metrics = run.run_dir / FILE
        # Noted now, while no line of this process is in it: a resumed run's file was cut back.
        self._begin_bytes = self._metrics.stat().st_size if self._metrics.exists() else 0
        self.artifact(run.config_file)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        """Nothing to do: the thread reads the line that `JsonlTracker` wrote."""

    def artifact(self, path: Path, folder: str = "") -> None:
        self._artifacts.append((path, folder))

    def finish(self, status: Status) -> None:
        """Send what is left, for a minute at most, and say what could not be sent."""
        self._status = status
        self._stop.set()
        self._thread.join(FINISH_TIMEOUT_S)
        points, files = self._unsent_points(), len(self._artifacts)
        if points or files or not self._ended:
            warn(
                f"{points:,} points and {files} files were not sent to MLflow at {self._uri}"
                + ("" if self._ended else f", where the run is not marked {status}")
                + f"; all are in {self._info.run_dir}"
            )

    def _work(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            sent = self._attempt(self._flush) and self._attempt(self._upload)
            pause = self._flush_every_s if sent else min(2 * pause + 1, LONGEST_PAUSE_S)
        for _ in range(FINISH_ATTEMPTS):
            sent = self._attempt(self._flush) and self._attempt(self._upload)
            self._ended = self._run is not None and self._attempt(self._end)
            if sent and self._ended:
                return
            time.sleep(FINISH_PAUSE_S)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Run `action`; the first exception becomes a warning, the others nothing."""
        try:
            action()
        except Exception as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"MLflow at {self._uri} does not take the run's records ({reason(error)}); "
                    "training goes on, metrics.jsonl has every point, MLflow is tried again"
                )
            return False
        return True

    def _flush(self) -> None:
        run = self._run or self._open()
        while True:
            lines, end = read_lines(self._metrics, self._sent_bytes, READ_BYTES)
            if end == self._sent_bytes:
                return
            run.send(lines)
            self._sent_bytes = end
            self._directory.update_record(mlflow_sent_bytes=end)

    def _upload(self) -> None:
        assert self._run is not None, "a flush comes before uploads"
        while self._artifacts:
            path, folder = self._artifacts[0]
            if path.exists():
                self._run.upload(path, folder)
            self._artifacts.popleft()

    def _end(self) -> None:
        assert self._run is not None, "a flush comes before the end"
        self._run.end(self._status)

    def _open(self) -> MlflowRun:
        """Continue the run that run.json names, or create one and name it there."""
        record = self._directory.read_record()
        self._uri = absolute_uri(self._uri, record.get("mlflow_uri"))
        client, experiment_id = connect(self._uri, self._info.experiment)
        known = record.get("mlflow_run_id") if record.get("mlflow_uri") == self._uri else None
        run = known and find_run(client, known)
        if run:
            self._sent_bytes = min(record.get("mlflow_sent_bytes", 0), self._begin_bytes)
        else:
            run = create_run(client, experiment_id, self._info, self._started_s)
            self._directory.update_record(
                mlflow_run_id=run.run_id, mlflow_uri=self._uri, mlflow_sent_bytes=0
            )
        if long := run.describe(self._info):
            warn(f"MLflow shows only the beginning of long parameters: {', '.join(long)}")
        self._run = run
        return run

    def _unsent_points(self) -> int:
        points, offset = 0, self._sent_bytes
        while True:
            lines, end = read_lines(self._metrics, offset, READ_BYTES)
            if end == offset:
                return points
            points += sum(len(line.metrics) for line in lines)
            offset = end
