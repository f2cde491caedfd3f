"""The table of commands. A module is imported only when its command is invoked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: one or two words, the function behind it, and its line in the list of commands."""

    name: str
    target: str
    """`module:function`."""
    help: str


COMMANDS = (
    Command("run", "wmrun.cli.run:run_cli", "Train from an experiment file."),
    Command("resume", "wmrun.cli.resume:resume_cli", "Continue a run from its last checkpoint."),
    Command("eval", "wmrun.cli.eval:eval_cli", "Play episodes with a checkpoint."),
    Command(
        "validate",
        "wmrun.cli.validate:validate_cli",
        "Check an experiment file and report every problem.",
    ),
    Command(
        "config show",
        "wmrun.cli.config_show:config_show_cli",
        "Print an experiment with every default filled in.",
    ),
    Command("list", "wmrun.cli.list:list_cli", "List the registered components."),
    Command("show", "wmrun.cli.show:show_cli", "Show a component's options and where it is."),
    Command(
        "plugins",
        "wmrun.cli.plugins:plugins_cli",
        "Import every third-party component and say which work.",
    ),
    Command(
        "check-env",
        "wmrun.cli.check_env:check_env_cli",
        "Try an experiment's environments before training on them.",
    ),
    Command("doctor", "wmrun.cli.doctor:doctor_cli", "Look at what this machine can run."),
    Command("ui", "wmrun.cli.ui:ui_cli", "Open the tracked runs in MLflow."),
    Command("bench env", "wmrun.cli.bench:bench_env_cli", "Measure env steps per second."),
    Command("bench update", "wmrun.cli.bench:bench_update_cli", "Measure milliseconds per update."),
    Command(
        "bench learn",
        "wmrun.cli.bench_learn:bench_learn_cli",
        "Train a benchmark and compare it with what is published.",
    ),
)

GROUPS = {
    "config": "Look at experiment files.",
    "bench": "Measure this machine.",
}
"""The first words of two-word commands."""
