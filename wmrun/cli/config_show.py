"""`wmrun config show FILE`: an experiment with every default filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config


def config_show_cli(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides such as run.env_steps=20_000 seed=3.", show_default=False),
    ] = None,
) -> None:
    """Print an experiment as YAML with every default filled in and nothing extended.

    The output is itself an experiment file that means the same.
    """
    typer.echo(config_show(file, overrides or ()), nl=False)


def config_show(file: Path, overrides: Sequence[str] = ()) -> str:
    """Return the resolved experiment as YAML. Raises `ConfigError`."""
    return dump_yaml(load_config(file, overrides))
