"""Sessions with a server on the oldest Python, grpcio and protobuf that are supported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.envserver.certificates import issue
from tests.envserver.oldest import OLDEST_PYTHON, needs_oldest_python
from wmrun.envs.access import Access
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvUnreachable

pytestmark = [pytest.mark.servers, needs_oldest_python]

TOKEN = "0123456789abcdef" * 4
ACTION = [np.zeros((2, 2), np.float32)]


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """Run an echo server on the old Python and give its address; it must end well."""
    command = [str(OLDEST_PYTHON), "-m", "wmrun_envserver", "serve", "--backend", "echo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield json.loads(line)["address"]
        finally:
            process.terminate()
            _, log = process.communicate(timeout=20)
        assert process.returncode == 0, log.decode()
        assert TOKEN not in log.decode()


@pytest.fixture
def token_file(tmp_path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(TOKEN)
    return path


def assert_works(address: str, access: Access) -> None:
    request = SessionRequest(task="echo", num_envs=2, client_id="c", options={})
    with EnvSession(address, request, access=access, connect_timeout_s=10.0) as session:
        session.reset()
        for _ in range(3):
            session.step_begin(ACTION)
            rows = session.step_end()
        assert list(rows.obs["vector"][:, 0]) == [3, 3]


def refusal(address: str, access: Access) -> str:
    request = SessionRequest(task="echo", num_envs=2, client_id="c", options={})
    with pytest.raises(EnvUnreachable) as caught:
        EnvSession(address, request, access=access, connect_timeout_s=0.3).open()
    return caught.value.message


@pytest.mark.parametrize("listen", [(), ("--listen", "127.0.0.1:0")], ids=["unix", "tcp"])
def test_a_token_works_without_tls(token_file, listen: Sequence[str]) -> None:
    with serving("--token-file", str(token_file), *listen) as address:
        assert_works(address, Access(TOKEN))
        assert "refuses this learner" in refusal(address, Access("f" * 64))
        assert "refuses this learner" in refusal(address, Access())


def test_tls_works_with_a_token_and_with_certificates(tmp_path, token_file) -> None:
    server = issue(tmp_path / "server", by="servers")
    client = issue(tmp_path / "client", "learner", by="learners")
    tls = ("--listen", "127.0.0.1:0", "--tls-cert", str(server.cert), "--tls-key", str(server.key))

    with serving(*tls, "--token-file", str(token_file)) as address:
        assert_works(address, Access.load(token_file=token_file, tls_ca=server.ca))
        assert "refuses this learner" in refusal(address, Access.load(tls_ca=server.ca))
        assert "it speaks TLS" in refusal(address, Access(TOKEN))

    with serving(*tls, "--tls-client-ca", str(client.ca)) as address:
        certified = Access.load(tls_ca=server.ca, tls_cert=client.cert, tls_key=client.key)
        assert_works(address, certified)
        uncertified = Access.load(tls_ca=server.ca)
        assert "it asks for a client certificate" in refusal(address, uncertified)
