"""`wmrun doctor`: look at what this machine can run, and say what to do about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmrun.cli.output import print_json, results
from wmrun.config.schema import DEFAULT_TRACKING_URI
from wmrun.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from wmrun.diagnose.probe import Probe

_STYLES = {"ok": "green", "note": "cyan", "problem": "bold red"}


def doctor_cli(
    env: Annotated[
        str | None, typer.Option(metavar="FAMILY", help="Only this env family, such as dmc.")
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Another Python that serves environments; repeatable."),
    ] = None,
    uri: Annotated[
        str, typer.Option(help="Tracking store of the runs.", envvar="MLFLOW_TRACKING_URI")
    ] = DEFAULT_TRACKING_URI,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Probe processors, disk, sockets, GPUs, MLflow, env servers, renderers and env families.

    Everything is tried, in child processes where it might crash or hang. Looks at this Python, at
    the ones in .venvs and at those named. Exits with 7 when there is a problem.
    """
    from wmrun.diagnose.doctor import examine

    probes = []
    console = results()
    for probe in examine(Path.cwd(), tracking_uri=uri, pythons=python or (), family=env):
        probes.append(probe)
        if not as_json:
            _print(console, probe)
    problems = [probe for probe in probes if probe.state == "problem"]
    if as_json:
        print_json({"ok": not problems, "probes": [probe.to_json() for probe in probes]})
    else:
        console.print(f"\n{_summary(len(problems))}")
    raise typer.Exit(ExitCode.FINDINGS if problems else ExitCode.OK)


def _print(console: Console, probe: Probe) -> None:
    from rich.text import Text

    line = Text.assemble(
        (f"{probe.state:8}", _STYLES[probe.state]), (f"{probe.subject}: ", "bold"), probe.message
    )
    if probe.advice:
        line.append(f"\n        {probe.advice}", "dim")
    console.print(line, soft_wrap=True)


def _summary(problems: int) -> str:
    if problems == 0:
        return "no problems"
    return "1 problem" if problems == 1 else f"{problems} problems"
