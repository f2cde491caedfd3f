"""The `wmrun` program: its commands, its one error handler, its exit codes."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from wmrun.cli.commands import COMMANDS, GROUPS, Command
from wmrun.errors import ExitCode, WmrunError

EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.INTERNAL: "a bug in wmrun",
    ExitCode.CONFIG: "the experiment file, an override or an argument is wrong",
    ExitCode.ENV: "an environment or its server failed",
    ExitCode.DIVERGED: "a loss is not finite",
    ExitCode.RUN: "a run directory or checkpoint cannot be used",
    ExitCode.BENCHMARK: "a benchmark failed",
    ExitCode.FINDINGS: "check-env or doctor found a problem",
    ExitCode.HUNG_UP: "SIGHUP",
    ExitCode.INTERRUPTED: "Ctrl-C",
    ExitCode.TERMINATED: "SIGTERM",
}

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    # gRPC prints failed handshakes line by line; our errors say in words what is wrong.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        build_app(arguments)(args=arguments, prog_name="wmrun")
    except Exception as error:
        sys.exit(report_error(error, debug="--debug" in arguments))
    sys.exit(ExitCode.OK)


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the program with the command that `arguments` name; of the others only the help."""
    app = _new_app(
        help="Run world-model reinforcement learning from YAML files.",
        epilog="Exit codes: "
        + "; ".join(f"{code:d} {meaning}" for code, meaning in EXIT_CODES.items()),
        add_completion=True,
    )
    app.callback()(_root)
    groups = {word: _new_app(help=help, add_completion=False) for word, help in GROUPS.items()}
    for command in COMMANDS:
        *group, name = command.name.split()
        parent = groups[group[0]] if group else app
        if _is_invoked(command, arguments):
            parent.command(name)(_with_debug(_load(command)))
        else:
            parent.command(name, help=command.help)(_unloaded)
    for word, group_app in groups.items():
        app.add_typer(group_app, name=word)
    return app


def report_error(error: Exception, *, debug: bool) -> ExitCode:
    """Tell the user what went wrong, on stderr, and return the exit code that says so too."""
    from rich.text import Text

    from wmrun.cli.output import printable, talk

    if debug:
        traceback.print_exception(error)
    if isinstance(error, WmrunError):
        message, hint, code = error.message, error.hint, error.exit_code
    else:
        message = f"unexpected {type(error).__name__}: {error}"
        hint, code = "run again with --debug to see the traceback", ExitCode.INTERNAL
    text = Text.assemble(("error:", "bold red"), " ", printable(message))
    text.highlight_regex(r"(?m)\^+$", "bold red")
    text.highlight_regex(r"(?m)^  did you mean: .*$", "green")
    if hint is not None:
        text.append(f"\n{printable(hint)}")
    talk().print(text, soft_wrap=True)
    return code


def _new_app(*, help: str, add_completion: bool, epilog: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=help,
        epilog=epilog,
        add_completion=add_completion,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda on: _print_version(on),
            help="Print the version.",
        ),
    ] = False,
    # `main` looks for it among the arguments, so that it serves for errors before parsing, too.
    debug: DebugOption = False,
) -> None:
    """Hold the options that come before a command."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"wmrun {version('wmrun')}")
        raise typer.Exit()


def _is_invoked(command: Command, arguments: Sequence[str]) -> bool:
    if "_WMRUN_COMPLETE" in os.environ:
        return True
    words = command.name.split()
    return [word for word in arguments if not word.startswith("-")][: len(words)] == words


def _load(command: Command) -> Callable[..., None]:
    module, _, name = command.target.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _unloaded() -> None:
    raise AssertionError("only the invoked command is loaded, and only it can be called")


def _with_debug(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command function that takes `--debug`, too, and ends with 130 on Ctrl-C."""

    @functools.wraps(function)
    def command(*, debug: bool, **arguments: Any) -> None:
        try:
            function(**arguments)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DebugOption
    )
    parameters = [*signature.parameters.values(), option]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command
