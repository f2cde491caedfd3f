from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc
import pytest
from wmrun_envserver.__main__ import main
from wmrun_envserver.server.token import bearer, read_token
from wmrun_envserver.wire.service import METHODS

from tests.envserver.server.client import Client, Stepper, eventually, opening
from tests.envserver.server.packages import install
from tests.envserver.server.scripted import actions

ROOT = Path(__file__).parents[3]
NOT_SERVING = 2


@dataclass
class Served:
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    client: Client
    parent: int
    """Closing it is what the death of the parent looks like."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    module = "tests.envserver.server.process_backend"
    install(tmp_path / "site", "talkative", {"talkative": f"{module}:TalkativeBackend"})
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return os.environ | {"PYTHONPATH": path}


@pytest.fixture
def launch(environment: dict[str, str]) -> Iterator[Callable[..., Served]]:
    """Start a server process and wait for its ready line."""
    with ExitStack() as stack:

        def start(*options: str, log: int | IO[str] = subprocess.PIPE) -> Served:
            ready, ready_writer = os.pipe()
            parent_reader, parent = os.pipe()
            fds = ("--ready-fd", str(ready_writer), "--parent-fd", str(parent_reader))
            process = subprocess.Popen(
                _command(*fds, *options),
                env=environment,
                pass_fds=(ready_writer, parent_reader),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            os.close(ready_writer)
            os.close(parent_reader)
            with open(ready) as lines:
                line = json.loads(lines.readline())
            client = Client(line["address"])
            stack.callback(client.close)
            return Served(process, line, client, parent)

        yield start


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "wmrun_envserver", "serve", "--backend", "talkative", *options]


def test_the_ready_line_says_where_and_who_and_the_socket_is_private(launch):
    served = launch()
    info = served.client.call("GetServerInfo")
    path = Path(served.ready["address"].removeprefix("unix:"))
    assert served.ready == {
        "address": f"unix:{path}",
        "pid": served.process.pid,
        "instance_id": info.instance_id,
        "protocol": "1.0",
        "backend": "talkative",
    }
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0

    os.close(served.parent)
    assert served.process.wait(20) == 0
    assert not path.parent.exists()
    assert "the parent is gone" in served.process.stderr.read()


def test_standard_output_holds_the_ready_line_alone(environment):
    process = subprocess.Popen(
        _command("--listen", "127.0.0.1:0"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ready = json.loads(process.stdout.readline())
    host, _, port = ready["address"].partition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    client = Client(ready["address"])
    assert client.health() == 1
    client.close()
    process.send_signal(signal.SIGINT)
    rest, log = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert "Hello from the simulation community." in log
    assert "native banner" in log


def test_sigterm_finishes_the_call_in_flight_and_turns_the_rest_away(launch, tmp_path):
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    served = launch()
    client = served.client
    session = Stepper(client, env_config_json=json.dumps({"fifo": str(fifo)}))
    other = Stepper(client)
    other.reset()
    session.reset()
    running = client.start("Step", session_id=session.id, seq=2, action=actions(1))
    gate = open(fifo, "wb")  # noqa: SIM115  (returns once the env waits at the other end)

    served.process.send_signal(signal.SIGTERM)
    eventually(lambda: client.health() == NOT_SERVING)
    code, detail = client.open_refused()
    assert (code, detail.reason, detail.retryable) == ("UNAVAILABLE", "DRAINING", True)
    assert client.call("Heartbeat", session_id=session.id).draining
    code, detail = client.refused("Step", session_id=other.id, seq=2, action=actions(1))
    assert (code, detail.reason) == ("UNAVAILABLE", "DRAINING")
    assert client.call("Reset", session_id=other.id, seq=1).replayed
    gate.close()

    assert running.result().rows.step_in_episode == [1]
    assert served.process.wait(20) == 0


def test_a_killed_server_is_replaced_at_the_same_address(launch, socket_dir):
    address = f"unix:{socket_dir}/s.sock"
    first = launch("--listen", address)
    session = Stepper(first.client)
    first.process.kill()
    first.process.wait(20)
    with pytest.raises(grpc.RpcError) as caught:
        first.client.stub("Heartbeat")(_heartbeat(session.id), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    second = launch("--listen", address)
    assert second.ready["instance_id"] != first.ready["instance_id"]
    code, detail = second.client.refused("Reset", session_id=session.id, seq=1)
    assert (code, detail.reason) == ("NOT_FOUND", "SESSION_UNKNOWN")
    assert Stepper(second.client).reset().is_first == [True]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (
            ["--listen", "0.0.0.0:0"],
            2,
            "other machines could connect unencrypted and without proving",
        ),
        (["--listen", "unix:/nowhere/at/all/s.sock"], 2, "No such file or directory"),
        (["--backend", "talkativ"], 2, "did you mean 'talkative'?"),
        (["--ready-fd", "999"], 2, "file descriptor 999 is not open"),
        (["--max-envs", "0"], 2, "'0' is not a positive number"),
        (["--max-message-mb", "2048"], 2, "a gRPC message may have at most 1024"),
        (["--workers", "many"], 2, "'many' is neither auto nor a number of processes"),
        (["--env", "reach"], 2, "'reach' is not ID=SOURCE"),
        (["--env", "reach=a:b"], 2, "backend takes no environments from the command line"),
        (["--allow", "x*"], 2, "--allow x*: no env id"),
        (["--token-file", "/nowhere/token"], 2, "--token-file: /nowhere/token: No such file"),
        (["--tls-cert", "cert.pem"], 2, "TLS needs both --tls-cert FILE and --tls-key FILE"),
    ],
)
def test_a_wrong_argument_ends_the_process_with_one_message(environment, options, status, words):
    done = subprocess.run(_command(*options), env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_tmpdir_too_deep_for_a_socket_ends_the_process_with_the_remedy(environment, tmp_path):
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    done = subprocess.run(
        _command(), env=environment | {"TMPDIR": str(deep)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"wmrun-envserver: error: 'unix:{deep}/wmrun-")
    assert "a Unix socket's may have 107; use a shorter directory for temporary" in done.stderr
    assert "export TMPDIR=/tmp" in done.stderr


def test_a_port_in_use_ends_the_process_with_one_message(environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            _command("--listen", address), env=environment, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert f"error: {address}: cannot listen there: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_under_the_log_stops_neither_the_server_nor_its_simulators(launch):
    with open("/dev/full", "w") as full:
        served = launch("--log-level", "debug", log=full)
    session = Stepper(served.client, env_config_json=json.dumps({"prints": True}))
    assert session.reset().is_first == [True]
    assert session.step().status == [0]
    assert served.client.open_refused(env_id="other")[0] == "NOT_FOUND"
    served.process.terminate()
    assert served.process.wait(20) == 0


def test_the_log_has_no_secret_and_one_line_for_each_entry(launch, tmp_path):
    token = tmp_path / "token"
    assert main(["token", str(token)]) == 0
    served = launch("--log-level", "debug", "--token-file", str(token))
    secret = read_token(token)
    plain = served.client
    metadata = (bearer(secret),)
    request = METHODS["OpenSession"].request(
        **opening(), client_name="me\n2026-01-01 00:00:00,000 ERROR forged\x1b[2J"
    )
    opened = plain.stub("OpenSession")(request, timeout=20, metadata=metadata)
    assert plain.refused("Heartbeat", session_id=opened.session_id)[0] == "UNAUTHENTICATED"
    close = METHODS["CloseSession"].request(session_id=opened.session_id)
    plain.stub("CloseSession")(close, timeout=20, metadata=metadata)

    served.process.terminate()
    assert served.process.wait(20) == 0
    log = served.process.stderr.read()
    assert "opened scripted" in log
    assert secret not in log
    assert opened.session_id not in log
    assert "\n2026-01-01" not in log
    assert "\x1b" not in log


def _heartbeat(session_id: str) -> Any:
    from wmrun_envserver.wire import messages

    return messages.HeartbeatRequest(session_id=session_id)
