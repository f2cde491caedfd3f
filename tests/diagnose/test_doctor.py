"""The doctor on this machine, and on what it must complain about."""

from __future__ import annotations

import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from wmrun.diagnose import machine as machine_module
from wmrun.diagnose.doctor import examine
from wmrun.diagnose.env_pythons import env_families, interpreters
from wmrun.diagnose.machine import LOCAL_SOCKETS, machine
from wmrun.diagnose.probe import Probe, ask
from wmrun.diagnose.round_trip import round_trip
from wmrun.diagnose.tracking_store import tracking_store


def probe(probes: list[Probe], subject: str) -> Probe:
    (found,) = [probe for probe in probes if probe.subject == subject]
    return found


def test_a_server_is_started_and_stepped() -> None:
    assert round_trip().state == "ok"


@pytest.mark.servers
def test_this_python_serves_echo_and_an_unknown_family_is_a_problem() -> None:
    assert probe(list(env_families([sys.executable], "echo")), "this Python").state == "ok"
    assert probe(list(env_families([sys.executable], "eccho")), "eccho").state == "problem"


def test_a_python_without_the_package_is_told_how_to_get_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    (said,) = env_families([str(python)])
    assert said.state == "problem"
    assert said.advice == f"{python} -m pip install wmrun-envserver"


def test_venvs_of_the_directory_are_found_and_named_once(tmp_path: Path) -> None:
    python = tmp_path / ".venvs" / "unity" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreters(tmp_path, [str(python)]) == [sys.executable, str(python)]


def test_a_temporary_directory_too_deep_for_sockets_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    monkeypatch.setattr(machine_module.tempfile, "gettempdir", lambda: str(deep))
    assert probe(list(machine(tmp_path)), "local sockets").state == "problem"


@pytest.mark.servers
def test_where_no_server_can_listen_none_is_started_to_say_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module.tempfile, "gettempdir", lambda: f"/tmp/{'d' * 110}")
    subjects = [said.subject for said in examine(tmp_path, tracking_uri="", family=None)]
    assert LOCAL_SOCKETS in subjects
    assert "env server" not in subjects


@pytest.mark.parametrize(
    ("limits", "advice"),
    [((40, 4096), "Raise it: ulimit -n 4096"), ((40, 40), "That is also the hard limit")],
)
def test_few_open_files_are_raised_where_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], advice: str
) -> None:
    monkeypatch.setattr(machine_module.resource, "getrlimit", lambda _: limits)
    said = probe(list(machine(tmp_path)), "open files")
    assert said.state == "note"
    assert said.advice.startswith(advice)


def test_a_taken_editor_port_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(machine_module, "EDITOR_PORT", taken.getsockname()[1])
        assert probe(list(machine(tmp_path)), "Unity Editor").state == "note"


def test_a_tracking_store_is_tried_and_not_changed(tmp_path: Path) -> None:
    new, broken, good = (tmp_path / name for name in ("new.db", "broken.db", "good.db"))
    broken.write_text("no database")
    with closing(sqlite3.connect(good)) as store:
        store.execute("CREATE TABLE runs (name TEXT)")
    assert tracking_store(f"sqlite:///{new}").state == "ok"
    assert not new.exists()
    assert tracking_store(f"sqlite:///{broken}").state == "problem"
    assert "0 runs" in tracking_store(f"sqlite:///{good}").message


def test_an_mlflow_server_that_is_not_there_is_a_problem() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert tracking_store(f"http://127.0.0.1:{unused.getsockname()[1]}").state == "problem"


def test_a_command_that_hangs_is_given_up() -> None:
    status, _, err = ask([sys.executable, "-c", "import signal; signal.pause()"], timeout_s=0.2)
    assert (status, err) == (124, "no answer within 0.2 s")
