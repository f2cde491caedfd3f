"""`wmrun check-env FILE`: try an experiment's environments before training on them."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmrun.cli.output import print_json, print_table, printable, results, talk
from wmrun.config.load import load_config
from wmrun.errors import EnvError, ExitCode

if TYPE_CHECKING:
    from wmrun.config.schema import Config, EnvConfig
    from wmrun.diagnose.env_check import EnvCheck
    from wmrun.diagnose.finding import Finding


def check_env_cli(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides such as env.num_envs=2.", show_default=False),
    ] = None,
    steps: Annotated[int, typer.Option(min=20, help="Random actions per slot.")] = 1000,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A finding that is known and fine; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Open an experiment's environments, play random actions, and say what would spoil training.

    Prints spaces, rates and episodes, then findings: environments that fail, NaN, values outside
    their space, frames that show nothing, different episodes under one seed, memory that grows.
    Exits with 7 when there is a finding that --allow does not name.
    """
    config = load_config(file, overrides or ())
    check = check_env(config, steps=steps)
    wrong = [f for f in check.findings if not f.is_note and f.name not in (allow or ())]
    if as_json:
        print_json({"ok": not wrong, **to_json(check)})
    else:
        _print(config.env, check, wrong)
    raise typer.Exit(ExitCode.FINDINGS if wrong else ExitCode.OK)


def check_env(config: Config, *, steps: int = 1000) -> EnvCheck:
    """Check an experiment's environments; the logs of their servers are not kept."""
    from wmrun.diagnose import env_check

    with tempfile.TemporaryDirectory(prefix="wmrun-check-") as logs:
        try:
            return env_check.check_env(
                config,
                Path(logs),
                steps=steps,
                say=lambda text: talk().print(text, markup=False, soft_wrap=True),
            )
        except EnvError as error:
            error.message = _without_remains(error.message, logs)
            error.hint = error.hint and _without_remains(error.hint, logs)
            raise


def to_json(check: EnvCheck) -> dict[str, Any]:
    """Return everything that was seen as a JSON object."""
    return {
        "observations": {key: _describe(leaf) for key, leaf in check.spec.obs_space.items()},
        "actions": _describe(check.spec.act_space),
        "renderer": check.spec.renderer,
        "num_envs": check.num_envs,
        "agent_steps": check.steps,
        "seconds_to_open": check.seconds_to_open,
        "seconds_to_reset": check.seconds_to_reset,
        "agent_steps_per_s": check.steps_per_second,
        "episode_lengths": check.episode_lengths,
        "episode_returns": check.episode_returns,
        "memory_mib": check.memory_mib,
        "findings": [finding.to_json() for finding in check.findings],
    }


def _without_remains(message: str, logs: str) -> str:
    """Leave out servers that run and logs in `logs`: both are gone when this is read."""
    message = re.sub(r"The env server is (?:running|stopped) \(pid \d+\)\. ", "", message)
    message = re.sub(rf"Last lines of {re.escape(logs)}/\S+:", "Its server's last lines:", message)
    return re.sub(rf"Its log is empty: {re.escape(logs)}/\S+", "Its server's log is empty", message)


def _print(env: EnvConfig, check: EnvCheck, wrong: Sequence[Finding]) -> None:
    spaces = [(f"observation {key}", _describe(leaf)) for key, leaf in check.spec.obs_space.items()]
    print_table(
        (env.backend, env.task),
        [*spaces, ("action", _describe(check.spec.act_space)), *_facts(check)],
    )
    console = results()
    for finding in check.findings:
        known = not finding.is_note and finding not in wrong
        label, style = ("note", "cyan") if finding.is_note else ("problem", "bold red")
        console.print(f"\n[{style}]{label}[/] {finding.name}{' (allowed)' if known else ''}")
        for line in (finding.message, finding.hint):
            if line:
                console.print(f"  {printable(line)}", markup=False, soft_wrap=True)
    if not wrong:
        console.print("\nnothing found that would spoil training")


def _facts(check: EnvCheck) -> list[tuple[str, str]]:
    facts = [
        ("renderer", check.spec.renderer or "none"),
        ("opened in", f"{check.seconds_to_open:.1f} s"),
        ("reset in", f"{check.seconds_to_reset:.2f} s"),
        ("speed", f"{check.steps_per_second:,.0f} agent steps/s in {check.num_envs} slots"),
        ("episodes", _episodes(check)),
    ]
    if check.memory_mib is not None:
        before, after = check.memory_mib
        facts.append(("memory of the server", f"{before:.0f} MiB, later {after:.0f} MiB"))
    return facts


def _episodes(check: EnvCheck) -> str:
    lengths, returns = check.episode_lengths, check.episode_returns
    if not lengths:
        return "none ended"
    return (
        f"{len(lengths)}, {min(lengths)} to {max(lengths)} steps "
        f"(median {statistics.median(lengths):g}), return {min(returns):.4g} to "
        f"{max(returns):.4g} (mean {statistics.fmean(returns):.4g})"
    )


def _describe(space: Any) -> str:
    from wmrun.nn.observations import describe_space

    return describe_space(space)
