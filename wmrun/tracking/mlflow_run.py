"""One MLflow run: created or continued, fed in batches, ended with a status."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from wmrun.config.leaves import leaves
from wmrun.run.tracker import RunInfo, Status
from wmrun.tracking.jsonl import MetricsLine

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
NAME_LENGTH = 250
"""What MLflow takes in one call, and the characters of a parameter's value and of any name."""

RESUMES = "wmrun.resumed_at_env_steps"

T = TypeVar("T")


class MlflowRun:
    """Writes to one run through MLflow's client API, which has no global state. All may raise."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def describe(self, info: RunInfo) -> list[str]:
        """Set parameters and tags and return the names of parameters too long for MLflow.

        MLflow's parameters are final: what a resumed run changed becomes tags `resumed.NAME`.
        """
        from mlflow.entities import Param, RunTag

        stored = self._client.get_run(self.run_id).data
        written = flatten(info.config)
        params = {name: value[:PARAM_LENGTH] for name, value in written.items()}
        new = [Param(name, value) for name, value in params.items() if name not in stored.params]
        for batch in _batches(new, PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, params=batch, synchronous=True)
        tags = _new_tags(info, params, stored.params, stored.tags)
        for batch in _batches([RunTag(k, v) for k, v in tags.items()], PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, tags=batch, synchronous=True)
        self._client.update_run(self.run_id, status="RUNNING")
        return [name for name, value in written.items() if len(value) > PARAM_LENGTH]

    def send(self, lines: Iterable[MetricsLine]) -> None:
        """Log the metrics of the lines against env steps, up to 1,000 points in a call."""
        from mlflow.entities import Metric

        points = (
            Metric(metric_name(name), value, round(line.time_s * 1000), line.counters.env_steps)
            for line in lines
            for name, value in _values(line).items()
        )
        for batch in _batches(points, METRICS_PER_BATCH):
            self._client.log_batch(self.run_id, metrics=batch, synchronous=True)

    def upload(self, path: Path, folder: str) -> None:
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def end(self, status: Status) -> None:
        self._client.set_terminated(self.run_id, status)


def find_run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """Return the run of this id, None if the store does not have it or it was deleted there."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return MlflowRun(client, run_id) if run.info.lifecycle_stage == "active" else None


def create_run(
    client: MlflowClient, experiment_id: str, info: RunInfo, started_s: float
) -> MlflowRun:
    """Create a run that began at `started_s`, seconds since 1970.

    It is called by its run id; MLflow shows the experiment above it, so that is not repeated.
    """
    name = info.run_id if info.experiment == info.name else f"{info.name}/{info.run_id}"
    run = client.create_run(experiment_id, start_time=round(started_s * 1000), run_name=name)
    return MlflowRun(client, run.info.run_id)


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Return every leaf of the config by its dotted path, written as in JSON."""
    return {
        metric_name(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in leaves(config).items()
    }


def metric_name(name: str) -> str:
    """Return the name with what MLflow does not accept in it replaced by `_`."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:NAME_LENGTH]


def _values(line: MetricsLine) -> dict[str, float]:
    return {
        **line.metrics,
        "progress/agent_steps": float(line.counters.agent_steps),
        "progress/updates": float(line.counters.updates),
    }


def _new_tags(
    info: RunInfo,
    params: Mapping[str, str],
    stored_params: Mapping[str, str],
    stored_tags: Mapping[str, str],
) -> dict[str, str]:
    """Return the tags that the run lacks, among them what was changed when it was resumed."""
    facts, pages = dict(info.tags), _pages(info)
    tags = {k: v for k, v in {**facts, **pages}.items() if k not in stored_tags}
    now, then = {**params, **facts}, {**stored_params, **stored_tags}
    changed = {name: value for name, value in now.items() if then.get(name, value) != value}
    tags |= {f"resumed.{name}"[:NAME_LENGTH]: value for name, value in changed.items()}
    if info.resumed_env_steps is not None:
        resumes = [*filter(None, stored_tags.get(RESUMES, "").split(", "))]
        if str(info.resumed_env_steps) not in resumes:
            tags[RESUMES] = ", ".join([*resumes, str(info.resumed_env_steps)])
    return tags


def _pages(info: RunInfo) -> dict[str, str]:
    """Return what MLflow's pages show about a run."""
    return {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": info.name,
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": f"Continue: `wmrun resume {info.run_dir}`\n\n"
        f"Evaluate: `wmrun eval {info.run_dir} --video`",
    }


def _batches(items: Iterable[T], size: int) -> Iterable[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
