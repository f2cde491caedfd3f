"""`wmrun bench`: measure this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wmrun.cli.output import print_table, talk
from wmrun.config.load import load_config


def bench_env_cli(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one round.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per case.")] = 5,
) -> None:
    """Env steps per second through local servers: median, minimum and maximum over the rounds."""
    from wmrun.bench.env import bench_env

    rows = []
    for result in bench_env(seconds=seconds, rounds=rounds):
        talk().print(f"{result.case}: {result.median:,.0f} env steps/s")
        figures = (result.median, min(result.rounds), max(result.rounds))
        rows.append((result.case, str(result.slots), *(f"{figure:,.0f}" for figure in figures)))
    print_table(("case", "slots", "env steps/s", "min", "max"), rows)


def bench_update_cli(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides such as threads=2.", show_default=False)
    ] = None,
    updates: Annotated[int, typer.Option(min=1, help="Timed updates.")] = 10,
) -> None:
    """Milliseconds per update of an experiment's agent on a random batch of its shapes."""
    config = load_config(file, overrides or ())
    from wmrun.bench.update import bench_update
    from wmrun.replay.disk import format_bytes

    timing = bench_update(config, updates=updates)
    figures = (timing.median, min(timing.milliseconds), max(timing.milliseconds))
    print_table(
        ("experiment", "device", "parameters", "ms/update", "min", "max", "peak memory"),
        [
            (
                config.name,
                timing.device,
                f"{timing.parameters:,}",
                *(f"{ms:.1f}" for ms in figures),
                format_bytes(timing.peak_bytes),
            )
        ],
    )
