"""The `wmrun-envserver` command."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wmrun_envserver.arguments import parse
from wmrun_envserver.conformance import cli as conformance

if TYPE_CHECKING:
    from wmrun_envserver.server.limits import Limits
    from wmrun_envserver.server.security import Security
    from wmrun_envserver.server.startup import ServeOptions

_USAGE_ERROR = 2
_BACKEND_ERROR = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 2 for a wrong argument, 3: a broken backend."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    arguments = parse(None if argv is None else list(argv))
    commands = {"serve": _serve, "token": _token, "list": _list, "conformance": conformance.run}
    return commands[arguments.command](arguments)


def _serve(arguments: argparse.Namespace) -> int:
    from wmrun_envserver.backends.base import SourceError
    from wmrun_envserver.server.address import AddressError
    from wmrun_envserver.server.discovery import (
        BackendError,
        NothingAllowedError,
        UnknownBackendError,
    )
    from wmrun_envserver.server.security import SecurityError
    from wmrun_envserver.server.startup import serve

    usage = (AddressError, SecurityError, SourceError, UnknownBackendError, NothingAllowedError)
    try:
        return serve(_options(arguments))
    except (*usage, BackendError) as error:
        if arguments.debug:
            traceback.print_exc()
        return _fail(error, _USAGE_ERROR if isinstance(error, usage) else _BACKEND_ERROR)


def _options(arguments: argparse.Namespace) -> ServeOptions:
    from wmrun_envserver.server.startup import ServeOptions

    return ServeOptions(
        backend=arguments.backend,
        sources=arguments.env,
        allow=tuple(arguments.allow),
        test_envs=arguments.test_envs,
        workers=arguments.workers,
        listen=arguments.listen,
        ready_fd=arguments.ready_fd,
        parent_fd=arguments.parent_fd,
        security=_security(arguments),
        limits=_limits(arguments),
        log_level=arguments.log_level,
        debug=arguments.debug,
    )


def _security(arguments: argparse.Namespace) -> Security:
    from wmrun_envserver.server.security import Security

    return Security.load(
        token_file=arguments.token_file,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        tls_client_ca=arguments.tls_client_ca,
        insecure=arguments.insecure,
    )


def _limits(arguments: argparse.Namespace) -> Limits:
    from wmrun_envserver.server.limits import Limits

    return Limits(
        max_sessions=arguments.max_sessions,
        max_envs=arguments.max_envs,
        max_message_bytes=arguments.max_message_mb * 2**20,
        default_lease_s=arguments.lease_s,
        max_lease_s=arguments.max_lease_s,
        max_restarts=arguments.max_restarts,
        restart_window_s=arguments.restart_window_s,
    )


def _token(arguments: argparse.Namespace) -> int:
    from wmrun_envserver.server.token import TokenError, create_token

    try:
        create_token(arguments.file)
    except TokenError as error:
        return _fail(error, _USAGE_ERROR)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from wmrun_envserver.server.listing import as_json, as_table, installed

    found = installed()
    print(as_json(found) if arguments.json else as_table(found))
    return 0


def _fail(error: Exception, status: int) -> int:
    print(f"wmrun-envserver: error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
