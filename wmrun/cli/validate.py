"""`wmrun validate FILE`: every problem of an experiment file at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wmrun.cli.output import print_json
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError, Problem


def validate_cli(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides such as run.env_steps=20_000 seed=3.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check an experiment file, what it extends and overrides, and report every problem.

    Nothing is started and no component is imported. Exits with 2 when there are problems.
    """
    if not as_json:
        load_config(file, overrides or ())
        typer.echo(f"{file} is valid")
        return
    problems = validate(file, overrides or ())
    print_json({"valid": not problems, "problems": [problem.to_json() for problem in problems]})
    raise typer.Exit(ConfigError.exit_code if problems else 0)


def validate(file: Path, overrides: Sequence[str] = ()) -> tuple[Problem, ...]:
    """Return the problems of an experiment; none when it is valid."""
    try:
        load_config(file, overrides)
    except ConfigError as error:
        return error.problems
    return ()
