"""One MLflow run: created or continued, fed in batches, ended with a status."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

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
        facts = _facts(info)
        new = [Param(name, value) for name, value in params.items() if name not in stored.params]
        for batch in _batches(new, PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, params=batch, synchronous=True)
        tags = {name: value for name, value in facts.items() if name not in stored.tags}
        earlier = {**stored.tags, **stored.params}
        changed = {k: v for k, v in {**facts, **params}.items() if earlier.get(k, v) != v}
        tags |= {f"resumed.{name}"[:NAME_LENGTH]: value for name, value in changed.items()}
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


def create_run(client: MlflowClient, experiment_id: str, info: RunInfo) -> MlflowRun:
    run = client.create_run(experiment_id, run_name=f"{info.name}/{info.run_id}")
    return MlflowRun(client, run.info.run_id)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return every leaf of the config by its dotted path, written as in JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[metric_name(name)] = value if isinstance(value, str) else json.dumps(value)
    return flat


def metric_name(name: str) -> str:
    """Return the name with what MLflow does not accept in it replaced by `_`."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:NAME_LENGTH]


def _values(line: MetricsLine) -> dict[str, float]:
    return {
        **line.metrics,
        "progress/agent_steps": float(line.counters.agent_steps),
        "progress/updates": float(line.counters.updates),
    }


def _facts(info: RunInfo) -> dict[str, str]:
    """Return the tags of a run: its own, where it came from, and what MLflow's pages show."""
    facts = {
        **info.tags,
        "wmrun.run_id": info.run_id,
        "wmrun.version": version("wmrun"),
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": f"wmrun run {info.name}",
        "mlflow.source.type": "LOCAL",
    }
    if commit := _git_commit():
        facts |= {"wmrun.git_commit": commit, "mlflow.source.git.commit": commit.split("-")[0]}
    if info.resumed_env_steps is not None:
        facts["wmrun.resumed_at_env_steps"] = str(info.resumed_env_steps)
    return facts


def _git_commit() -> str | None:
    """Return the commit of the working directory, ending in -dirty if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _batches(items: Iterable[T], size: int) -> Iterable[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
