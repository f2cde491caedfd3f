"""Servers that start, and every way in which they do not."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.envs.conftest import LIMIT_S, wait_for_exit
from wmrun.config.schema import RestartsConfig
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvStartError
from wmrun.envs.server_log import ServerLog
from wmrun.envs.supervisor import ServerProcess, describe_exit, start_server


@pytest.fixture
def log(tmp_path: Path) -> ServerLog:
    return ServerLog(tmp_path / "env_servers" / "train.log")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "python"


def start(
    log: ServerLog, *, python: Path | None = None, backend: str = "echo", timeout_s: float = LIMIT_S
) -> ServerProcess:
    return start_server(
        python=python and str(python), backend=backend, log=log, timeout_s=timeout_s
    )


def refusal(log: ServerLog, **settings: object) -> EnvStartError:
    with pytest.raises(EnvStartError) as caught:
        start(log, **settings)  # type: ignore[arg-type]
    assert caught.value.exit_code == 3
    return caught.value


def write_script(script: Path, body: str) -> Path:
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


def test_server_says_where_it_listens_and_its_output_goes_to_the_log(log: ServerLog) -> None:
    server = start(log)
    try:
        assert server.address.startswith("unix:/")
        assert server.ready.pid == server.pid
        assert server.ready.protocol == "1.0"
        first, *rest = log.path.read_text().splitlines()
        assert "-m wmrun_envserver serve --backend echo" in first
        assert any("serving echo" in line for line in rest)
    finally:
        server.stop()
    assert server.exited()
    assert server.report().startswith("The env server exited with code 0. Last lines of ")


def test_death_is_seen_at_once_and_described(log: ServerLog) -> None:
    server = start(log)
    assert not server.exited()
    os.kill(server.pid, signal.SIGKILL)
    assert server.exited(within_s=LIMIT_S)
    assert server.report().startswith("The env server was killed by SIGKILL. Last lines of ")
    server.stop()
    assert not Path(server.address.removeprefix("unix:")).parent.exists()


def test_server_that_ignores_its_end_is_killed(log: ServerLog) -> None:
    server = start(log)
    os.kill(server.pid, signal.SIGSTOP)
    server.stop(grace_s=0.1)
    assert server.report().startswith("The env server was killed by SIGKILL")


def test_server_that_nobody_stopped_ends_with_its_handle(log: ServerLog) -> None:
    server = start(log)
    pidfd = os.pidfd_open(server.pid)
    del server
    assert wait_for_exit(pidfd)


def test_worker_that_is_stopped_does_not_outlive_its_server(log: ServerLog) -> None:
    server = start_server(python=None, backend="echo", log=log, timeout_s=LIMIT_S, workers=1)
    wanted = SessionRequest(task="echo", num_envs=1, client_id="c", options={})
    with EnvSession(server.address, wanted):
        (worker,) = psutil.Process(server.pid).children()
        pidfd = os.pidfd_open(worker.pid)
        worker.send_signal(signal.SIGSTOP)
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        assert wait_for_exit(pidfd)


def test_log_keeps_earlier_starts_and_shows_the_latest(log: ServerLog) -> None:
    start(log).stop()
    before = log.path.read_text()
    refusal(log, backend="ecko")
    assert log.path.read_text().startswith(before)
    assert "serving echo" not in log.tail()


def test_python_without_the_package_is_told_what_to_install(log: ServerLog, script: Path) -> None:
    write_script(script, f'exec "{sys.executable}" -I -S "$@"')
    error = refusal(log, python=script, backend="gym")
    assert error.message == f"{script} (env.server.python) has no wmrun_envserver"
    assert error.hint == f"Install it there: {script} -m pip install 'wmrun-envserver[gym]'"


def test_family_whose_packages_are_missing_is_told_what_to_install(
    log: ServerLog, script: Path
) -> None:
    write_script(
        script,
        "echo \"wmrun-envserver: error: backend 'gym' cannot be loaded: ModuleNotFoundError: "
        "No module named 'gymnasium'\" >&2; exit 3",
    )
    error = refusal(log, python=script, backend="gym")
    assert error.message == (
        "env.backend gym: backend 'gym' cannot be loaded: ModuleNotFoundError: "
        "No module named 'gymnasium'"
    )
    assert error.hint is not None
    assert error.hint.endswith(f"{script} -m pip install 'wmrun-envserver[gym]'")


@pytest.mark.parametrize("module", ["nomod", "badly_made"])
def test_sources_that_cannot_be_imported_are_no_reason_to_install_an_extra(
    log: ServerLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str
) -> None:
    (tmp_path / "badly_made.py").write_text("import what_it_needs")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EnvStartError) as caught:
        start_server(
            python=None,
            backend="gym",
            log=log,
            timeout_s=LIMIT_S,
            sources={"mine": f"{module}:make"},
        )
    assert f"--env mine={module}:make: importing {module} failed" in caught.value.message
    assert "pip install" not in str(caught.value)


def test_extras_are_spelt_as_pip_knows_them(log: ServerLog, script: Path) -> None:
    said = "backend 'dm_env_rpc' cannot be loaded: No module named 'dm_env_rpc'"
    write_script(script, f'echo "wmrun-envserver: error: {said}" >&2; exit 3')
    error = refusal(log, python=script, backend="dm_env_rpc")
    assert error.hint is not None
    assert error.hint.endswith("'wmrun-envserver[dm-env-rpc]'")


def test_unity_is_told_which_command_builds_its_environment(log: ServerLog, script: Path) -> None:
    said = "backend 'unity_mlagents' cannot be loaded: No module named 'mlagents_envs'"
    write_script(script, f'echo "wmrun-envserver: error: {said}" >&2; exit 3')
    error = refusal(log, python=script, backend="unity_mlagents")
    assert error.message == f"env.backend unity_mlagents: {said}"
    assert error.hint == (
        "Build it an environment of its own: python envservers/unity/build.py; "
        "then set env.server.python: .venvs/unity/bin/python"
    )


def test_config_becomes_the_arguments_of_the_server(log: ServerLog, script: Path) -> None:
    write_script(script, 'echo "$@" >&2; exit 1')
    restarts = RestartsConfig(per_window=1, window_s=2.5)
    for settings in (
        {},
        {"workers": 2, "sources": {"mine": "m:f"}, "restarts": restarts},
    ):
        with pytest.raises(EnvStartError):
            start_server(
                python=str(script),
                backend="gym",
                log=log,
                timeout_s=LIMIT_S,
                **settings,  # type: ignore[arg-type]
            )
    plain, full = (line for line in log.path.read_text().splitlines() if line.startswith("-m"))
    common = r"-m wmrun_envserver serve --backend gym {}--ready-fd \d+ --parent-fd \d+"
    assert re.fullmatch(common.format(""), plain)
    more = "--workers 2 --env mine=m:f --max-restarts 1 --restart-window-s 3 "
    assert re.fullmatch(common.format(more), full)


def test_start_that_is_cancelled_ends_before_its_time(log: ServerLog, script: Path) -> None:
    pid_file = script.with_name("pid")
    new = script.with_name("new")
    write_script(script, f"echo $$ > {new}; mv {new} {pid_file}; exec tail -f /dev/null")
    with pytest.raises(EnvStartError):
        start_server(
            python=str(script),
            backend="echo",
            log=log,
            timeout_s=600.0,
            cancelled=pid_file.exists,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_interpreter_that_does_not_exist_is_named(log: ServerLog, tmp_path: Path) -> None:
    error = refusal(log, python=tmp_path / "bin" / "python")
    assert error.message == (
        f"env.server.python: cannot run '{tmp_path}/bin/python': No such file or directory"
    )


def test_unknown_backend_is_answered_with_the_closest(log: ServerLog) -> None:
    error = refusal(log, backend="ecko")
    assert error.message.startswith(
        "env.backend ecko: unknown backend 'ecko'; did you mean 'echo'?"
    )


def test_server_that_crashes_at_the_start_shows_code_and_last_lines(
    log: ServerLog, script: Path
) -> None:
    write_script(script, "echo libEGL: no display >&2; kill -ABRT $$")
    assert refusal(log, python=script).message == (
        "the env server for backend 'echo' was killed by SIGABRT. "
        f"Last lines of {log.path}:\n  libEGL: no display"
    )


def test_server_that_is_never_ready_is_stopped(log: ServerLog, script: Path) -> None:
    pid_file = script.with_name("pid")
    write_script(script, f"echo $$ > {pid_file}; echo loading assets; exec tail -f /dev/null")
    error = refusal(log, python=script, timeout_s=0.5)
    assert error.message.startswith(
        "the env server for backend 'echo' was not ready within 0.5 s. Last lines of "
    )
    assert error.message.endswith("  loading assets")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize("said", ["hello", "{}", "[1]"])
def test_ready_line_that_is_none_is_shown(log: ServerLog, script: Path, said: str) -> None:
    body = "import os, sys; os.write(int(sys.argv[sys.argv.index('--ready-fd') + 1]), b'%s\\n')"
    write_script(script, f'exec "{sys.executable}" -S -c "{body % said}" "$@"')
    assert refusal(log, python=script).message.startswith(
        f"the env server for backend 'echo' said '{said}' in place of its ready line. "
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exited with code 0"), (-9, "was killed by SIGKILL"), (-99, "was killed by signal 99")],
)
def test_return_codes_are_put_into_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_failed_starts_leave_no_descriptor(log: ServerLog, script: Path) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    refusal(log, python=write_script(script, "exit 1"))
    refusal(log, python=script.with_name("none"))
    assert set(os.listdir("/proc/self/fd")) == descriptors
