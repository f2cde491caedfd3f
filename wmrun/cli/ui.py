"""`wmrun ui`: open the tracked runs in MLflow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wmrun.cli.output import talk
from wmrun.config.schema import DEFAULT_TRACKING_URI
from wmrun.errors import UsageError

_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # pages for looking: no job processes beside
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def ui_cli(
    uri: Annotated[
        str, typer.Option(help="Tracking store to show.", envvar="MLFLOW_TRACKING_URI")
    ] = DEFAULT_TRACKING_URI,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve MLflow's pages for the runs of this directory on 127.0.0.1 until Ctrl-C."""
    ui(uri, port=port)


def ui(uri: str, *, port: int) -> None:
    """Replace this process by MLflow's server. Raises `UsageError` without a database."""
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.exists():
        raise UsageError(
            f"there is no {database} in {Path.cwd()}",
            hint="Start `wmrun ui` where `wmrun run` was started, or pass --uri.",
        )
    page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    talk().print(f"MLflow is starting (about 15 s), Ctrl-C ends it: {page}", soft_wrap=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, {**_QUIET, **os.environ})
