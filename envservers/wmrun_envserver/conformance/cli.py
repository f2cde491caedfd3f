"""`wmrun-envserver conformance`: its flags, and what it does with them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from wmrun_envserver.conformance.check import Check
from wmrun_envserver.wire.address import ADDRESS_WORDS, is_address

PASSED = 0
FAILED = 1
WRONG_USAGE = 2
NOBODY_ANSWERS = 3


class UsageError(Exception):
    """Flags that cannot be followed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command to `parser`."""
    parser.description = (
        "Check an environment server, in whatever language, against the protocol. Exit status: "
        "0 all checks passed, 1 a check failed, 2 wrong usage, 3 nothing answers, "
        "or nothing that takes these credentials."
    )
    _add_server(parser)
    _add_subject(parser)
    _add_choice(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the checks and return the exit status."""
    # grpc and NumPy are loaded here, not when other commands build their parsers.
    from wmrun_envserver.conformance.launch import LaunchError
    from wmrun_envserver.conformance.suite import NobodyAnswersError, all_checks

    try:
        checks = select(all_checks(), arguments.only, arguments.skip)
        if arguments.list:
            from wmrun_envserver.conformance.report import list_checks

            list_checks(checks, sys.stdout)
            return PASSED
        return _make(checks, arguments)
    except (UsageError, LaunchError) as error:
        print(f"wmrun-envserver conformance: error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except NobodyAnswersError as error:
        print(f"wmrun-envserver conformance: {error}", file=sys.stderr)
        return NOBODY_ANSWERS


def select(checks: Sequence[Check], only: Sequence[str], skip: Sequence[str]) -> list[Check]:
    """Return the checks asked for, by number or name; raises `UsageError` for one unknown."""
    wanted = {_find(checks, word).number for word in only} or {check.number for check in checks}
    unwanted = {_find(checks, word).number for word in skip}
    return [check for check in checks if check.number in wanted - unwanted]


def _add_server(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--target", metavar="ADDRESS", help="HOST:PORT or unix:/DIR/NAME.sock")
    where.add_argument(
        "--launch",
        metavar="COMMAND",
        help="start the server with this command, in which {address} (or {port}) says where to "
        "listen; checks that stop or kill the server need it",
    )
    parser.add_argument("--token-file", type=Path, metavar="F", help="the server's token")
    parser.add_argument("--tls-ca", type=Path, metavar="F", help="who signed the server (PEM)")
    parser.add_argument("--tls-cert", type=Path, metavar="F", help="the client's certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="F", help="the client's key (PEM)")


def _add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env-id", metavar="ID", help="the environment to test (default: echo, else the first)"
    )
    parser.add_argument("--config", default="{}", metavar="JSON", help="its options")
    parser.add_argument(
        "--num-envs", type=_positive, default=2, metavar="N", help="slots (default: %(default)s)"
    )
    parser.add_argument(
        "--steps",
        type=_positive,
        default=1000,
        metavar="N",
        help="random steps of check 9, and how long others look for the end of an episode "
        "(default: %(default)s)",
    )
    parser.add_argument("--echo-env-id", default="echo", metavar="ID", help="(default: echo)")
    parser.add_argument("--fault-env-id", default="fault", metavar="ID", help="(default: fault)")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CHECK",
        help="a number or a name; repeatable",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="CHECK",
        help="a number or a name; repeatable",
    )
    parser.add_argument(
        "--time-limit", type=_positive, default=120, metavar="S", help="of one check (default: 120)"
    )
    parser.add_argument("--list", action="store_true", help="list the checks and stop")
    parser.add_argument("--json", action="store_true", help="write the results as JSON")


def _make(checks: Sequence[Check], arguments: argparse.Namespace) -> int:
    from wmrun_envserver.conformance.launch import Launcher
    from wmrun_envserver.conformance.peer import Target
    from wmrun_envserver.conformance.report import write_json, write_result, write_summary
    from wmrun_envserver.conformance.run import Settings
    from wmrun_envserver.conformance.suite import Suite

    if not arguments.target and not arguments.launch:
        raise UsageError("one of --target ADDRESS and --launch COMMAND is required")
    if arguments.target and not is_address(arguments.target):
        raise UsageError(f"--target {arguments.target!r} is no address; expected {ADDRESS_WORDS}")
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    if arguments.tls_cert and not arguments.tls_ca:
        raise UsageError("--tls-cert needs --tls-ca: who signed the server's own certificate")
    target = Target(
        arguments.target or "",
        token=_text(arguments.token_file),
        tls_ca=_bytes(arguments.tls_ca),
        tls_cert=_bytes(arguments.tls_cert),
        tls_key=_bytes(arguments.tls_key),
    )
    settings = Settings(
        env_id=arguments.env_id,
        config=_config(arguments.config),
        num_envs=arguments.num_envs,
        steps=arguments.steps,
        echo_env_id=arguments.echo_env_id,
        fault_env_id=arguments.fault_env_id,
        limit_s=float(arguments.time_limit),
    )
    launcher = Launcher(arguments.launch, target) if arguments.launch else None
    results = []
    with Suite(settings, target, launcher) as suite:
        for result in suite.run(checks):
            results.append(result)
            if not arguments.json:
                write_result(result, sys.stdout)
    (write_json if arguments.json else write_summary)(results, sys.stdout)
    return FAILED if any(result.status == "FAIL" for result in results) else PASSED


def _find(checks: Sequence[Check], word: str) -> Check:
    for check in checks:
        if word in (str(check.number), check.name):
            return check
    from difflib import get_close_matches

    close = get_close_matches(word, [check.name for check in checks], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"there is no check {word!r}{hint} (--list names them)")


def _config(text: str) -> dict[str, object]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--config {text!r} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise UsageError(f"--config {text!r} is not a JSON object")
    return config


def _bytes(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _text(path: Path | None) -> str | None:
    data = _bytes(path)
    return None if data is None else data.decode(errors="replace").strip()


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
