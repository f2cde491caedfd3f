"""The program as a whole: help, errors, exit codes, lazy commands."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from wmrun.cli import app as cli
from wmrun.cli.app import EXIT_CODES, build_app, main
from wmrun.cli.commands import COMMANDS, GROUPS, Command
from wmrun.cli.run import how_far
from wmrun.errors import EnvError, ExitCode, WmrunError
from wmrun.run.tracker import Counters

_BROKEN = """
class Broken:
    def __init__(self):
        raise RuntimeError("the licence is gone")
"""
_TRIED = """
extends: dreamer_v2
name: tried
run: {env_steps: 10_000}
env: {backend: gym, task: broken, source: 'broken_envs:Broken'}
"""


def ends(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(("before", "after"), [(None, "ERROR"), ("DEBUG", "DEBUG")])
def test_grpc_prints_no_more_than_errors_unless_told_to(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", before or "")
    if before is None:
        monkeypatch.delenv("GRPC_VERBOSITY")
    ends("--version")
    assert os.environ["GRPC_VERBOSITY"] == after


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Put a command `fail` in the table that raises the parameter."""

    def fail_cli() -> None:
        """Fail."""
        raise request.param

    monkeypatch.setattr(cli, "_load", lambda command: fail_cli)
    monkeypatch.setattr(cli, "COMMANDS", (Command("fail", "nowhere:fail_cli", "Fail."),))


def test_help_lists_every_command_and_every_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert ends("--help") == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command.name.split()[0]} " in text
    assert set(EXIT_CODES) == set(ExitCode)
    for code, meaning in EXIT_CODES.items():
        assert f"{code:d} {meaning}" in text


def test_no_command_is_loaded_for_help() -> None:
    loaded = [command.target.partition(":")[0] for command in COMMANDS]
    script = f"""
import sys
from wmrun.cli.app import build_app
try:
    build_app(["--help"])(["--help"])
except SystemExit:
    pass
print(sorted(set(sys.modules) & {{*{loaded!r}, "torch", "pydantic", "yaml"}}), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stderr == "[]\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.replace(" ", "-"))
def test_a_command_of_the_table_is_a_function_with_a_docstring(command: Command) -> None:
    module, _, name = command.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert name == f"{re.sub('[ -]', '_', command.name)}_cli"
    assert inspect.getdoc(function)
    assert command.help.endswith(".")
    assert len(command.name.split()) == 1 or command.name.split()[0] in GROUPS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.replace(" ", "-"))
def test_every_command_has_help_and_takes_debug(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert ends(*command.name.split(), "--help") == 0
    assert "--debug" in capsys.readouterr().out


def test_a_mistyped_command_is_answered_with_the_closest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends("validat") == ExitCode.CONFIG
    assert "validate" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("--version") == 0
    assert capsys.readouterr().out.startswith("wmrun 0.")


@pytest.mark.parametrize(
    "failing", [WmrunError("the disk is full", hint="buy a disk")], indirect=True
)
@pytest.mark.usefixtures("failing")
def test_an_expected_error_is_told_with_its_hint_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends("fail") == ExitCode.INTERNAL
    assert capsys.readouterr() == ("", "error: the disk is full\nbuy a disk\n")


@pytest.mark.parametrize("failing", [ZeroDivisionError("by zero")], indirect=True)
@pytest.mark.usefixtures("failing")
def test_an_unexpected_error_is_one_line_unless_debug_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends("fail") == ExitCode.INTERNAL
    assert capsys.readouterr().err == (
        "error: unexpected ZeroDivisionError: by zero\n"
        "run again with --debug to see the traceback\n"
    )
    for arguments in (("fail", "--debug"), ("--debug", "fail")):
        assert ends(*arguments) == ExitCode.INTERNAL
        assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("failing", [KeyboardInterrupt()], indirect=True)
@pytest.mark.usefixtures("failing")
def test_ctrl_c_ends_with_130() -> None:
    assert ends("fail") == ExitCode.INTERRUPTED


@pytest.mark.parametrize("failing", [typer.Exit(5)], indirect=True)
@pytest.mark.usefixtures("failing")
def test_a_command_may_choose_its_exit_code() -> None:
    assert ends("fail") == 5


def test_rich_markup_in_a_message_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    cli.report_error(WmrunError("dims[0] and [red]this[/red]"), debug=False)
    assert capsys.readouterr().err == "error: dims[0] and [red]this[/red]\n"


def test_control_characters_are_escaped_and_long_lines_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.report_error(EnvError("größe\n\0\x1b[31m" + "x" * 100_000, hint="\a"), debug=False)
    first, second, hint = capsys.readouterr().err.splitlines()
    assert first == "error: größe"
    assert second.startswith(r"\x00\x1b[31mxxx")
    assert second.endswith("x… (98,006 more characters)")
    assert hint == r"\x07"


def test_an_env_that_cannot_be_built_is_told_without_what_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_envs.py").write_text(_BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    file = tmp_path / "tried.yaml"
    file.write_text(_TRIED)
    assert ends("check-env", str(file)) == ExitCode.ENV
    said = capsys.readouterr().err
    assert "RuntimeError: the licence is gone" in said
    assert "Its server's last lines:\n" in said
    assert "running" not in said
    assert "wmrun-check-" not in said


def test_python_m_wmrun_is_wmrun() -> None:
    command = [sys.executable, "-m", "wmrun", "--version"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("wmrun 0.")


def test_completion_knows_the_options_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_WMRUN_COMPLETE", "complete_bash")
    group = typer.main.get_command(build_app(()))
    options = {name for param in group.commands["list"].params for name in param.opts}  # type: ignore[attr-defined]
    assert "--json" in options


def test_every_module_of_the_command_line_belongs_to_a_command_or_to_all() -> None:
    folder = Path(cli.__file__).parent
    shared = {"__init__", "app", "commands", "output"}
    commands = {command.target.partition(":")[0].rpartition(".")[2] for command in COMMANDS}
    assert {path.stem for path in folder.glob("*.py")} == shared | commands


def test_commands_that_a_user_may_run_without_torch_import_none_at_module_level() -> None:
    heavy = {"torch", "mlflow", "grpc", "gymnasium", "wmrun_envserver"}
    for path in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not heavy & {name.partition(".")[0] for name in names}, path


@pytest.mark.parametrize(
    ("counters", "line"),
    [
        (Counters(0, 0, 0), "stopped before the first env step"),
        (Counters(2000, 1000, 30), "stopped after 2,000 env steps and 30 updates"),
    ],
)
def test_a_run_that_was_told_to_stop_says_how_far_it_came(counters: Counters, line: str) -> None:
    assert how_far("KILLED", counters) == line
