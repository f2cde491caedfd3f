from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wmrun.run.directory import RunDirectory, create_run
from wmrun.run.tracker import Counters, RunInfo
from wmrun.tracking.fanout import FanoutTracker
from wmrun.tracking.jsonl import JsonlTracker
from wmrun.tracking.mlflow import MlflowTracker

FIRST_RUN = """
import sys
from pathlib import Path
from tests.tracking.conftest import make_run, tracked
from wmrun.run.tracker import Counters

run = make_run(Path(sys.argv[1]), experiment=sys.argv[3])
tracker = tracked(sys.argv[2])
tracker.start(run)
tracker.log({"loss/model": 1.5}, Counters(10, 5, 1))
tracker.finish("FINISHED")
"""


def first_run_command(folder: Path, uri: str, experiment: str) -> list[str]:
    """A process that tracks a run of its own, as the first of its database."""
    return [sys.executable, "-c", FIRST_RUN, str(folder), uri, experiment]


def make_run(
    folder: Path, *, experiment: str = "walker", config: dict[str, Any] | None = None
) -> RunInfo:
    config = {"name": "walker", "seed": 0} if config is None else config
    run = create_run("walker", "name: walker\n", root=folder / "runs")
    return RunInfo(
        run_dir=run.path,
        run_id=run.run_id,
        name="walker",
        experiment=experiment,
        config=config,
        config_file=run.config_file,
        tags={"wmrun.run_dir": str(run.path)},
    )


def tracked(uri: str) -> FanoutTracker:
    return FanoutTracker([JsonlTracker(), MlflowTracker(uri=uri, flush_every_s=0.05)])


def counters(env_steps: int) -> Counters:
    return Counters(env_steps, agent_steps=env_steps // 2, updates=env_steps // 10)


@dataclass(frozen=True)
class Store:
    """A SQLite tracking store that a first run has set up."""

    uri: str
    folder: Path
    output: str
    """What that first run printed."""

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def run_of(self, info: RunInfo) -> Any:
        return self.client.get_run(RunDirectory(info.run_dir).read_record()["mlflow_run_id"])

    def history(self, info: RunInfo, name: str) -> list[tuple[int, float]]:
        run_id = self.run_of(info).info.run_id
        points = self.client.get_metric_history(run_id, name)
        return [(point.step, point.value) for point in sorted(points, key=lambda p: p.timestamp)]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    first = subprocess.run(
        first_run_command(folder, uri, "first"),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return Store(uri, folder, first.stdout)
