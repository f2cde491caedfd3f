"""`wmrun resume RUN`: continue a run that was stopped or killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmrun.cli.output import talk
from wmrun.cli.run import report

if TYPE_CHECKING:
    from wmrun.launch.training import Outcome


def resume_cli(
    run: Annotated[
        str,
        typer.Argument(help="Run directory, run id, or experiment name (its newest run)."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changed keys such as run.env_steps=2_000_000.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            help="last, best, an env step or a folder name; later checkpoints are dropped."
        ),
    ] = "last",
    runs: Annotated[Path, typer.Option(help="Folder of all run directories.")] = Path("runs"),
) -> None:
    """Continue a run from a checkpoint, in the same directory and the same MLflow run."""
    outcome = resume(run, overrides or (), checkpoint=checkpoint, runs=runs)
    report(outcome)
    raise typer.Exit(outcome.exit_code)


def resume(
    reference: str,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str = "last",
    runs: Path = Path("runs"),
) -> Outcome:
    """Find the run and continue it."""
    from wmrun.launch.training import resume_run
    from wmrun.run.directory import find_run

    run = find_run(reference, root=runs)
    return resume_run(run, overrides, console=talk(), checkpoint=checkpoint)
