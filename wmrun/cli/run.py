"""`wmrun run FILE`: train from an experiment file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmrun.cli.output import talk
from wmrun.config.load import load_config

if TYPE_CHECKING:
    from wmrun.launch.training import Outcome
    from wmrun.run.tracker import Counters, Status


def run_cli(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides such as run.env_steps=20_000 seed=3.", show_default=False),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all run directories.")] = Path("runs"),
) -> None:
    """Train the agent of an experiment file in its environments.

    Starts the environment servers, trains, evaluates, writes checkpoints and logs to MLflow. The
    first Ctrl-C (or SIGTERM) writes a checkpoint and stops; `wmrun resume` goes on from there.
    """
    outcome = run(file, overrides or (), runs=runs)
    report(outcome)
    raise typer.Exit(outcome.exit_code)


def run(file: Path, overrides: Sequence[str] = (), *, runs: Path = Path("runs")) -> Outcome:
    """Validate the file, then train. Raises `ConfigError` before anything heavy is imported."""
    config = load_config(file, overrides)
    from wmrun.launch.training import start_run

    return start_run(config, console=talk(), root=runs)


def report(outcome: Outcome) -> None:
    """Say how the run ended, where it is, and what can be done with it."""
    console, run = talk(), outcome.run.path
    console.print(f"\n{how_far(outcome.status, outcome.counters)}")
    if outcome.status == "FINISHED":
        console.print(f"evaluate   wmrun eval {run} --episodes 10 --video", soft_wrap=True)
    else:
        console.print(f"continue   wmrun resume {run}", soft_wrap=True)
    if uri := outcome.run.read_record().get("mlflow_uri"):
        console.print(f"MLflow     {_how_to_open(uri)}", soft_wrap=True)
    typer.echo(str(run))


def how_far(status: Status, counters: Counters) -> str:
    """Return how a run ended and where, in a line."""
    ended = "stopped" if status == "KILLED" else status.lower()
    if not counters.env_steps:
        return f"{ended} before the first env step"
    return f"{ended} after {counters.env_steps:,} env steps and {counters.updates:,} updates"


def _how_to_open(uri: str) -> str:
    """Return what shows an MLflow store: its address, or the command that serves its database."""
    if uri.startswith(("http:", "https:")):
        return uri
    here = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    return "wmrun ui" if uri == here else f"wmrun ui --uri {uri}"
