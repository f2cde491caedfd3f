"""Reaching an MLflow tracking store from many processes at once, and quietly."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # every flush tries again, within our own time limits
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Settings of MLflow for this process, unless the user has made their own."""

_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""What MLflow's pages take an experiment for, where their reader does not choose."""


def absolute_uri(uri: str, earlier: str | None = None) -> str:
    """Return the store's URI with the path of a SQLite database made absolute.

    A relative path means the working directory; for a run that recorded `earlier`, it means the
    database it used then, so that a run is resumed from anywhere.
    """
    database = sqlite_path(uri)
    if database is None or database.is_absolute():
        return uri
    if earlier is not None and earlier.endswith(f"/{database}"):
        return earlier
    return _SQLITE + str(Path.cwd() / uri.removeprefix(_SQLITE))


def sqlite_path(uri: str) -> Path | None:
    """Return the database file of a `sqlite:///` URI, None for other stores."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0])


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return a client of the store and the id of the experiment, created where it is missing."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for talkative in ("alembic", "mlflow.store"):
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    with _alone(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, str(found.experiment_id)
        created = client.create_experiment(experiment, _artifacts(uri, experiment), _EXPERIMENT)
        return client, str(created)


def _artifacts(uri: str, experiment: str) -> str | None:
    """Return where files of a new experiment go: beside its SQLite database; servers decide."""
    database = sqlite_path(uri)
    if database is None:
        return None
    return (database.parent / "mlartifacts").as_uri() + "/" + quote(experiment, safe="")


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time set up a SQLite store: migrations side by side damage it.

    The store is put into WAL mode, in which readers (MLflow's pages) and writers do not wait for
    one another.
    """
    database = sqlite_path(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        yield
