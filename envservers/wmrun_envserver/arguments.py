"""The arguments of the `wmrun-envserver` command."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from wmrun_envserver.conformance import cli as conformance
from wmrun_envserver.serve_arguments import EXIT_CODES, add_serve, settle_lease

_DESCRIPTION = "Serve simulators to a wmrun learner over gRPC."


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return what was asked for; ends the process with status 2 where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="wmrun-envserver",
        description=_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("wmrun-envserver"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = add_serve(commands)
    _add_token(commands)
    _add_list(commands)
    _add_conformance(commands)
    arguments = parser.parse_args(argv)
    if arguments.command == "serve":
        settle_lease(serve, arguments)
    return arguments


def _add_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = commands.add_parser(
        "token",
        help="make a token for serve --token-file",
        description="Write 256 random bits, in hex, to a new file of mode 0600. Copy it to the "
        "learner's machine over a private channel, and name it there in env.server.token_file.",
    )
    token.add_argument("file", metavar="FILE", help="must not exist yet")


def _add_list(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    backends = commands.add_parser(
        "list",
        help="show the backends installed, and why one cannot be used",
        description="Load every backend installed here and say what it offers, or what it misses.",
    )
    backends.add_argument("--json", action="store_true", help="one JSON object per line")


def _add_conformance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "conformance", help="check a server, in whatever language, against the protocol"
    )
    conformance.add_arguments(parser)
