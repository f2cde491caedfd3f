"""The command: what it takes, what it says, and the status with which it ends."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wmrun_envserver.conformance import cli, suite
from wmrun_envserver.conformance.check import Check, Result, Skip, Unmet, equal, require
from wmrun_envserver.conformance.launch import Launcher, await_end, is_running
from wmrun_envserver.conformance.peer import Target
from wmrun_envserver.conformance.report import write_result
from wmrun_envserver.conformance.run import Settings
from wmrun_envserver.conformance.suite import Suite, all_checks
from wmrun_envserver.server.address import parse_address
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.security import Security
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.server.tls import Tls
from wmrun_envserver.server.token import create_token

from tests.envserver.certificates import issue
from tests.envserver.server.client import TIMEOUT_S, eventually


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="conformance")
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_there_are_33_checks_and_the_readme_lists_them(capsys):
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, 34))
    readme = Path(cli.__file__).with_name("README.md").read_text()
    for check in all_checks():
        assert f"| {check.number} | `{check.name}` | {check.summary} | {check.needs} |" in readme


def test_checks_are_chosen_by_number_or_name(echo_server, capsys):
    address = echo_server.target.address
    chosen = ["--only", "1", "--only", "replay", "--only", "8", "--skip", "reset-rows"]
    assert run("--target", address, "--json", *chosen) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert [(check["number"], check["status"]) for check in report["checks"]] == [
        (1, "PASS"),
        (19, "PASS"),
    ]


def test_a_failed_check_is_told_and_the_status_is_1(echo_server, capsys):
    address = echo_server.target.address
    assert run("--target", address, "--only", "7", "--env-id", "no-such-env") == 1
    out = capsys.readouterr().out
    assert "FAIL  7 step-before-reset" in out
    assert "expected  OK\n        got       NOT_FOUND: unknown env id 'no-such-env'" in out
    assert "0 passed, 1 failed, 0 skipped of 1 checks" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of --target ADDRESS and --launch COMMAND is required"),
        (["--only", "reply"], "there is no check 'reply'; did you mean 'replay'?"),
        (["--launch", "server"], "has neither {address} nor {port}"),
        (["--launch", "no-such-program {address}"], "there is no program 'no-such-program'"),
        (["--target", "localhost"], "--target 'localhost' is no address; expected HOST:PORT, as"),
        (["--target", "a:99999"], "--target 'a:99999' is no address; expected HOST:PORT, as"),
        (["--target", "a:1", "--config", "[]"], "--config '[]' is not a JSON object"),
        (["--target", "a:1", "--config", "{"], "--config '{' is not JSON"),
        (["--target", "a:1", "--tls-cert", "c"], "--tls-cert and --tls-key go together"),
        (["--target", "a:1", "--token-file", "/no/such"], "/no/such: No such file or directory"),
    ],
)
def test_wrong_usage_is_told_and_the_status_is_2(words, told, capsys):
    assert run(*words) == 2
    assert told in capsys.readouterr().err


def test_a_server_that_ends_at_once_has_said_why_and_the_status_is_3(capsys):
    assert run("--launch", f"{sys.executable} -c 'exit(\"{{address}} is cursed\")'") == 3
    err = capsys.readouterr().err
    assert "the server ended with status 1; it said: unix:/" in err
    assert "is cursed" in err


def test_an_address_where_nobody_answers_gives_status_3(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "ANSWER_LIMIT_S", 0.2)
    assert run("--target", f"unix:{tmp_path}/nobody.sock") == 3
    assert "nothing answers at unix:" in capsys.readouterr().err


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Callable[[Security], str]]:
    """Serve on loopback with what `Security` asks for, and return the address."""
    with ExitStack() as stack:

        def serve(security: Security) -> str:
            server = EnvServer(
                Catalogue.load("echo"), parse_address("127.0.0.1:0"), security=security
            )
            server.start()
            stack.callback(server.drain, 5.0)
            return str(server.address)

        yield serve


def told_by(capsys, *words: str) -> str:
    assert run(*words, "--only", "1") == 3
    err: str = capsys.readouterr().err
    return err


def test_plaintext_at_a_tls_port_names_the_option(secured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "ANSWER_LIMIT_S", 0.2)
    files = issue(tmp_path / "server")
    address = secured(Security(tls=Tls.load(files.cert, files.key)))
    err = told_by(capsys, "--target", address)
    assert f"no connection to {address}: it speaks TLS, this command does not. Set --tls-ca" in err


def test_tls_at_a_plaintext_port_names_the_option(secured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "ANSWER_LIMIT_S", 0.2)
    files = issue(tmp_path / "server")
    err = told_by(capsys, "--target", secured(Security()), "--tls-ca", str(files.ca))
    assert "it does not speak TLS. Leave --tls-ca out" in err


def test_a_missing_client_certificate_names_the_options(secured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "ANSWER_LIMIT_S", 0.2)
    files = issue(tmp_path / "server")
    address = secured(Security(tls=Tls.load(files.cert, files.key, files.ca)))
    err = told_by(capsys, "--target", address, "--tls-ca", str(files.ca))
    assert "it asks for a client certificate. Set --tls-cert and --tls-key" in err


@pytest.mark.parametrize("has_token", [False, True])
def test_a_missing_or_wrong_token_names_the_option_before_any_check(
    secured, tmp_path, capsys, has_token
):
    create_token(tmp_path / "other")
    words = ["--token-file", str(tmp_path / "other")] if has_token else []
    err = told_by(capsys, "--target", secured(Security("0" * 64)), *words)
    assert "refuses this command: " in err
    assert "Set --token-file to a copy of the file that the server was given" in err


@pytest.mark.servers
def test_a_server_that_stops_answering_fails_one_check_and_the_rest_is_skipped(echo_launcher):
    def stop_the_server(_run: object) -> None:
        """It stops."""
        os.kill(server.process.pid, signal.SIGSTOP)
        raise Unmet("the server", "an answer", "none")

    with echo_launcher.running() as server:
        checks = [Check(1, "stops", "", stop_the_server), *all_checks()[7:9]]
        with Suite(Settings(), server.target) as made:
            results = list(made.run(checks))
    assert [result.status for result in results] == ["FAIL", "SKIP", "SKIP"]
    assert results[1].why == "the server no longer answers since check 1 stops"


def test_a_server_that_the_suite_launched_ends_with_it_also_where_it_is_killed(tmp_path):
    told = tmp_path / "pids"
    server = f"sh -c 'sleep 600 & echo $$ $! > {told}.new; mv {told}.new {told}; wait' {{address}}"
    command = [sys.executable, "-m", "wmrun_envserver", "conformance", "--launch", server]
    made = subprocess.Popen(command)
    try:
        eventually(told.exists)
        pids = set(map(int, told.read_text().split()))
        assert all(map(is_running, pids))
    finally:
        made.kill()
        made.wait()
    assert not await_end(pids, TIMEOUT_S)


@pytest.mark.servers
def test_a_server_of_the_suites_own_is_started_again(echo_launcher):
    def kill_the_server(run: object) -> None:
        """It is gone."""
        os.kill(made._launched.process.pid, signal.SIGKILL)
        raise Unmet("the server", "an answer", "none")

    checks = [Check(1, "dies", "", kill_the_server), *all_checks()[7:8]]
    with Suite(Settings(), Target(""), echo_launcher) as made:
        assert [result.status for result in made.run(checks)] == ["FAIL", "PASS"]


def test_a_check_that_takes_too_long_fails(echo_server):
    def heartbeat_for_ever(run) -> None:
        """It never ends."""
        while True:
            run.peer.info()

    with Suite(Settings(limit_s=0.3), echo_server.target) as made:
        (result,) = made.run([Check(1, "endless", "", heartbeat_for_ever)])
    assert str(result.unmet).startswith("time: expected done within 0 s")


def test_what_no_check_foresaw_is_a_failure(echo_server):
    def trips(_run: object) -> None:
        """It trips."""
        raise KeyError(0)

    with Suite(Settings(), echo_server.target) as made:
        (result,) = made.run([Check(1, "trips", "", trips)])
    assert "KeyError(0) at test_cli.py" in str(result.unmet)


def test_results_are_written_with_field_expected_got_and_what_was_left_out():
    def rule(_run: object) -> None:
        """One rule.

        More about it.
        """

    check = Check(3, "versions", "", rule)
    out = io.StringIO()
    write_result(Result(check, "FAIL", 1.25, Unmet("Rows.reward", 1, 2), "", ("seeds: none",)), out)
    write_result(Result(check, "SKIP", 0.0, why="needs --launch"), out)
    assert out.getvalue().splitlines() == [
        "FAIL  3 versions                    1.2 s",
        "        rule      One rule.",
        "        field     Rows.reward",
        "        expected  1",
        "        got       2",
        "        left out  seeds: none",
        "SKIP  3 versions                    0.0 s  needs --launch",
    ]


def test_long_values_are_cut_in_reports():
    with pytest.raises(Unmet, match="…"):
        equal("data", "x" * 1000, "y")
    require(True, "data", 1, 2)
    assert issubclass(Skip, Exception)


def test_port_and_tls_commands_listen_on_loopback():
    assert Launcher("sh {address}", Target("")).is_unix
    assert not Launcher("sh {port}", Target("")).is_unix
    assert not Launcher("sh {address}", Target("", tls_ca=b"x")).is_unix
