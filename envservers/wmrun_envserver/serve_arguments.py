"""The arguments of `wmrun-envserver serve`."""

from __future__ import annotations

import argparse

from wmrun_envserver import argument_types

EXIT_CODES = """\
exit status:
  0  stopped by SIGTERM, SIGINT or the end of the parent
  1  stopped, but an environment still hung after 10 s
  2  a wrong argument: an address, token or certificate that cannot be used; a port in use;
     an unknown backend, env id or source. Nothing was started
  3  the backend cannot be loaded: what it needs is not installed
"""
_LEASE_S = 60
_EXAMPLES = """\
examples:
  on this machine, for one learner:
    wmrun-envserver serve --backend gym
  for other machines, which show a token over TLS:
    wmrun-envserver token token
    wmrun-envserver serve --backend dmc --listen 0.0.0.0:5005 \\
        --token-file token --tls-cert server.pem --tls-key server.key
  a Gymnasium environment of your own:
    wmrun-envserver serve --backend gym --env reach=my_package.envs:make_reach

The ready line on standard output is one JSON object: address, pid, instance_id, protocol, backend.
Everything else goes to standard error.

"""


def add_serve(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command to `commands` and return its parser."""
    serve = commands.add_parser(
        "serve",
        help="serve the environments of one backend",
        description="Serve the environments of one backend until SIGTERM, SIGINT or the end of "
        "--parent-fd.",
        epilog=_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_environments(serve.add_argument_group("environments"))
    _add_address(serve.add_argument_group("address"))
    _add_security(serve.add_argument_group("security"))
    limits = serve.add_argument_group("limits")
    _add_sizes(limits)
    _add_leases(limits)
    _add_restarts(limits)
    _add_process(serve.add_argument_group("process"))
    return serve


def settle_lease(serve: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Let a lease that was not asked for follow the longest one; refuse one that is longer."""
    longest = arguments.max_lease_s
    if arguments.lease_s is None:
        arguments.lease_s = min(_LEASE_S, longest)
    elif arguments.lease_s > longest:
        serve.error(
            f"--lease-s {arguments.lease_s} is longer than the longest lease, --max-lease-s "
            f"{longest}: lower the one or raise the other"
        )


def _add_environments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--backend",
        required=True,
        metavar="NAME",
        help="the env family; `wmrun-envserver list` shows those installed",
    )
    group.add_argument(
        "--env",
        action=argument_types.AddSource,
        type=argument_types.source,
        default={},
        metavar="ID=SOURCE",
        help="offer ID: module:factory (gym), the path of a player (unity_mlagents), "
        "HOST:PORT[/WORLD] (dm_env_rpc); may be repeated",
    )
    group.add_argument(
        "--allow",
        action="append",
        type=argument_types.pattern,
        default=[],
        metavar="PATTERN",
        help="offer only the env ids that match, as 'walker_*'; may be repeated (default: all)",
    )
    group.add_argument(
        "--workers",
        type=argument_types.workers,
        default="auto",
        metavar="auto|N",
        help="processes over which slots are spread; 0: the server itself; auto: one for each "
        "simulator of a family that may crash or hang, else 0 (default: %(default)s)",
    )
    group.add_argument(
        "--test-envs",
        action="store_true",
        help='offer the env ids "echo" and "fault", too, for conformance checks',
    )


def _add_address(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="unix:/DIR/NAME.sock, where DIR has mode 0700; 127.0.0.1:PORT; or, with TLS and a "
        "token or client certificates, IP:PORT of another interface; port 0: any free one "
        "(default: a socket in a new private directory)",
    )


def _add_security(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="clients must send this token, on any address; FILE has mode 0600 and is made by "
        "`wmrun-envserver token FILE`. grpc.health.v1.Health/Check alone answers without",
    )
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        help="encrypt, and show this certificate (PEM, chain included)",
    )
    group.add_argument("--tls-key", metavar="FILE", help="its key (PEM, mode 0600, no passphrase)")
    group.add_argument(
        "--tls-client-ca",
        metavar="FILE",
        help="clients must show a certificate signed by this authority (PEM)",
    )
    group.add_argument(
        "--insecure",
        action="store_true",
        help="listen where other machines can connect even though they need no credentials, or "
        "send everything in the clear",
    )


def _add_sizes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-sessions",
        type=argument_types.positive,
        default=32,
        metavar="N",
        help="(default: %(default)s)",
    )
    group.add_argument(
        "--max-envs",
        type=argument_types.positive,
        default=256,
        metavar="N",
        help="slots over all sessions (default: %(default)s)",
    )
    group.add_argument(
        "--max-message-mb",
        type=argument_types.message_mb,
        default=64,
        metavar="MB",
        help="of one request or reply, 1 to 1024 MiB (default: %(default)s)",
    )


def _add_leases(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--lease-s",
        type=argument_types.positive,
        metavar="S",
        help="how long a session lives without a word from its client, unless that asks for "
        f"something else (default: {_LEASE_S} s, or --max-lease-s where that is less)",
    )
    group.add_argument(
        "--max-lease-s",
        type=argument_types.positive,
        default=3600,
        metavar="S",
        help="the longest that a client may ask for (default: %(default)s s)",
    )


def _add_restarts(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-restarts",
        type=argument_types.count,
        default=3,
        metavar="N",
        help="how often the simulator of a slot that failed is started again within the window "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--restart-window-s",
        type=argument_types.positive,
        default=300,
        metavar="S",
        help="(default: %(default)s s)",
    )


def _add_process(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ready-fd",
        type=argument_types.descriptor,
        metavar="N",
        help="write one JSON line there when serving (default: standard output)",
    )
    group.add_argument(
        "--parent-fd",
        type=argument_types.descriptor,
        metavar="M",
        help="exit when this one reaches its end",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )
    group.add_argument(
        "--debug", action="store_true", help="send tracebacks to clients, and print them here"
    )
