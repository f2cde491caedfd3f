"""Whether MLflow's tracking store can be reached and written."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from wmrun.diagnose.probe import Probe
from wmrun.tracking.mlflow_store import absolute_uri, sqlite_path

_CONNECT_TIMEOUT_S = 5.0
_PORTS = {"http": 80, "https": 443}


def tracking_store(uri: str) -> Probe:
    """Try the store that runs would be logged to, changing nothing in it."""
    uri = absolute_uri(uri)
    database = sqlite_path(uri)
    if database is not None:
        return _sqlite(database)
    parts = urlsplit(uri)
    if parts.scheme in _PORTS:
        return _server(uri, parts.hostname or "", parts.port or _PORTS[parts.scheme])
    known = ", ".join(["sqlite:///FILE", *(f"{scheme}://HOST:PORT" for scheme in _PORTS)])
    advice = f"wmrun has been tried with {known}."
    return Probe("MLflow", "note", f"{uri} is left to MLflow {version('mlflow')}", advice)


def _sqlite(database: Path) -> Probe:
    said = f"MLflow {version('mlflow')}, {database}"
    if not database.exists():
        return Probe("MLflow", "ok", f"{said} will be created by the first run")
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=5)) as store:
            (runs,) = store.execute("SELECT COUNT(*) FROM runs").fetchone()
            store.execute("BEGIN IMMEDIATE")
            store.rollback()
    except sqlite3.Error as error:
        advice = "Set tracking.uri to another file, or move this one away; metrics.jsonl has all."
        return Probe("MLflow", "problem", f"{said}: {error}", advice)
    return Probe("MLflow", "ok", f"{said}, {runs:,} runs, can be written")


def _server(uri: str, host: str, port: int) -> Probe:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        advice = "Start it, or set tracking.uri. Runs go on meanwhile and catch up on resume."
        return Probe("MLflow", "problem", f"nothing answers at {uri}: {error}", advice)
    return Probe("MLflow", "ok", f"MLflow {version('mlflow')}, something answers at {uri}")
