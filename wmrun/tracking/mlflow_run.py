"""One MLflow run: opened or continued, fed in batches, ended with a status."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wmrun.run.tracker import RunInfo, Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAMS_PER_BATCH = 100
"""What one `log_batch` call takes (MLflow's REST limit)."""
PARAM_LENGTH = 6000
"""Characters of a parameter's value (MLflow's limit)."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    timestamp_ms: int
    env_steps: int


class MlflowRun:
    """Writes to one run through MLflow's client API, which has no global state."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def send(self, points: Sequence[Point]) -> None:
        """Log up to 1,000 points in one call, against env steps."""
        from mlflow.entities import Metric

        metrics = [Metric(p.name, p.value, p.timestamp_ms, p.env_steps) for p in points]
        self._client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def upload(self, path: Path, folder: str) -> None:
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def end(self, status: Status) -> None:
        self._client.set_terminated(self.run_id, status)


def open_run(uri: str, info: RunInfo, *, resumed: str | None) -> MlflowRun:
    """Create the run with its parameters and tags, or set a resumed one back to RUNNING."""
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with _first_use_alone(uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment_id = _experiment(client, uri, info.experiment)
    params = flatten(info.config)
    if resumed is None:
        run = client.create_run(experiment_id, run_name=info.run_id, tags=dict(info.tags))
        _log_params(client, run.info.run_id, params)
        return MlflowRun(client, run.info.run_id)
    client.update_run(resumed, status="RUNNING")
    before = client.get_run(resumed).data.params
    for name, value in params.items():
        if before.get(name) != value:  # parameters cannot be changed in MLflow, tags can
            client.set_tag(resumed, f"resumed.{name}", value)
    return MlflowRun(client, resumed)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return every leaf of the config under its dotted path, cut to the length MLflow takes."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)[:PARAM_LENGTH]
    return flat


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in params.items()]
    for first in range(0, len(entities), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=entities[first : first + PARAMS_PER_BATCH])


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    # A server decides where artifacts go; beside a database they lie in mlartifacts/.
    beside = Path("mlartifacts").absolute().as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=beside and f"{beside}/{name}"))


@contextmanager
def _first_use_alone(uri: str) -> Iterator[None]:
    """Let one process at a time create a SQLite store: concurrent migrations break it.

    The store is put into WAL mode, in which readers (MLflow's pages) and writers go side by side.
    """
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///"))
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        yield
