"""The `wmrun-envserver` command."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

_USAGE_ERROR = 2
_BACKEND_ERROR = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 2 for a wrong argument, 3: a broken backend."""
    arguments = _parser().parse_args(argv)
    return _serve(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from wmrun_envserver.server.address import AddressError
    from wmrun_envserver.server.discovery import BackendError, UnknownBackendError
    from wmrun_envserver.server.limits import Limits
    from wmrun_envserver.server.startup import ServeOptions, serve

    options = ServeOptions(
        backend=arguments.backend,
        listen=arguments.listen,
        ready_fd=arguments.ready_fd,
        parent_fd=arguments.parent_fd,
        limits=Limits(max_sessions=arguments.max_sessions, max_envs=arguments.max_envs),
        log_level=arguments.log_level,
        debug=arguments.debug,
    )
    try:
        return serve(options)
    except (AddressError, BackendError) as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"wmrun-envserver: error: {error}", file=sys.stderr)
        is_usage = isinstance(error, AddressError | UnknownBackendError)
        return _USAGE_ERROR if is_usage else _BACKEND_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wmrun-envserver", description="Serve simulators to a wmrun learner over gRPC."
    )
    parser.add_argument("--version", action="version", version=version("wmrun-envserver"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the environments of one backend")
    serve.add_argument("--backend", required=True, metavar="NAME", help="gym, dmc, echo, …")
    serve.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="unix:/DIR/NAME.sock, where DIR has mode 0700, or 127.0.0.1:PORT "
        "(default: a socket in a new private directory)",
    )
    serve.add_argument(
        "--ready-fd",
        type=_descriptor,
        metavar="N",
        help="write one JSON line there when serving (default: standard output)",
    )
    serve.add_argument(
        "--parent-fd", type=_descriptor, metavar="M", help="exit when this one reaches its end"
    )
    serve.add_argument(
        "--max-sessions", type=_positive, default=8, metavar="N", help="(default: %(default)s)"
    )
    serve.add_argument(
        "--max-envs",
        type=_positive,
        default=256,
        metavar="N",
        help="slots over all sessions (default: %(default)s)",
    )
    serve.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )
    serve.add_argument(
        "--debug", action="store_true", help="send tracebacks to clients, and print them here"
    )
    return parser


def _descriptor(text: str) -> int:
    try:
        fd = int(text)
        os.fstat(fd)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file descriptor") from None
    except OSError:
        raise argparse.ArgumentTypeError(f"file descriptor {text} is not open") from None
    return fd


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
