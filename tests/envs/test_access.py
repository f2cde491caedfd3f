"""Tokens and certificates between a learner's sessions and real servers."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.server.address import Address, TcpAddress, UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.security import Security
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.server.tls import Tls

from tests.envserver.certificates import Files, issue
from wmrun.envs.access import Access, _is_local
from wmrun.envs.channel import check_server, open_channel
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvAccessError, EnvUnreachable

TOKEN = "0123456789abcdef" * 4
LOOPBACK = TcpAddress("127.0.0.1", 0)
ACTION = [np.zeros((1, 2), np.float32)]


@pytest.fixture(scope="module")
def server_files(tmp_path_factory) -> Files:
    return issue(tmp_path_factory.mktemp("tls") / "server", by="servers")


@pytest.fixture(scope="module")
def client_files(tmp_path_factory) -> Files:
    return issue(tmp_path_factory.mktemp("tls") / "client", "learner", by="learners")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve echo at an address, and return that as the learner's config has it."""
    with ExitStack() as stack:

        def start(security: Security, address: Address = LOOPBACK) -> str:
            server = EnvServer(Catalogue.load("echo"), address, security=security)
            server.start()
            stack.callback(server.drain, 5.0)
            return str(server.address)

        yield start


@pytest.fixture
def token_file(tmp_path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


def open_session(address: str, access: Access, patience_s: float = 10.0) -> EnvSession:
    request = SessionRequest(task="echo", num_envs=1, client_id="c", options={})
    return EnvSession(address, request, access=access, connect_timeout_s=patience_s)


def refusal(address: str, access: Access) -> EnvUnreachable:
    with pytest.raises(EnvUnreachable) as caught:
        open_session(address, access, patience_s=0.2).open()
    assert TOKEN not in str(caught.value)
    return caught.value


def assert_works(address: str, access: Access) -> None:
    with open_session(address, access) as session:
        session.reset()
        session.step_begin(ACTION)
        session.step_end()
        assert session._heartbeat.probe() is not None


def test_a_token_opens_unix_sockets_and_loopback_ports(serve, token_file):
    access = Access.load(token_file=token_file)
    with tempfile.TemporaryDirectory(prefix="wm") as directory:
        path = UnixAddress(Path(directory) / "s.sock")
        assert_works(serve(Security(TOKEN), path), access)
    assert_works(serve(Security(TOKEN)), access)


def test_a_token_crosses_tls(serve, server_files, token_file):
    address = serve(Security(TOKEN, Tls.load(server_files.cert, server_files.key)))
    assert_works(address, Access.load(token_file=token_file, tls_ca=server_files.ca))


def test_certificates_on_both_sides_are_enough(serve, server_files, client_files):
    address = serve(_mutual(server_files, client_files))
    access = Access.load(
        tls_ca=server_files.ca, tls_cert=client_files.cert, tls_key=client_files.key
    )
    assert_works(address, access)


@pytest.mark.parametrize("token", [None, "f" * 64])
def test_a_missing_or_wrong_token_is_told_from_an_absent_server(serve, token):
    error = refusal(serve(Security(TOKEN)), Access(token))
    assert "refuses this learner" in error.message
    assert error.hint is not None
    assert "env.server.token_file" in error.hint


def test_plaintext_at_a_tls_port_names_the_setting(serve, server_files):
    address = serve(Security(tls=Tls.load(server_files.cert, server_files.key)))
    error = refusal(address, Access())
    assert "it speaks TLS, this learner does not" in error.message
    assert error.hint is not None
    assert "env.server.tls_ca" in error.hint


def test_tls_at_a_plaintext_port_names_the_setting(serve, server_files):
    error = refusal(serve(Security()), Access.load(tls_ca=server_files.ca))
    assert "it does not speak TLS" in error.message
    assert error.hint is not None
    assert "Leave env.server.tls_ca out" in error.hint


def test_a_missing_client_certificate_is_named(serve, server_files, client_files):
    address = serve(_mutual(server_files, client_files))
    error = refusal(address, Access.load(tls_ca=server_files.ca))
    assert "it asks for a client certificate" in error.message
    assert error.hint is not None
    assert "env.server.tls_cert and env.server.tls_key" in error.hint


def test_plaintext_at_a_port_that_wants_certificates_is_named(serve, server_files, client_files):
    error = refusal(serve(_mutual(server_files, client_files)), Access())
    assert "it speaks TLS, this learner does not" in error.message


def test_a_client_certificate_of_another_authority_is_named(serve, server_files, client_files):
    address = serve(_mutual(server_files, client_files))
    access = Access.load(
        tls_ca=server_files.ca, tls_cert=server_files.cert, tls_key=server_files.key
    )
    assert "does not accept our client certificate" in refusal(address, access).message


def test_a_server_of_another_authority_is_not_trusted(serve, server_files, client_files):
    address = serve(Security(tls=Tls.load(server_files.cert, server_files.key)))
    error = refusal(address, Access.load(tls_ca=client_files.ca))
    assert "its certificate is not trusted" in error.message
    assert error.hint is not None
    assert "env.server.tls_ca" in error.hint


def test_a_certificate_for_another_host_is_not_trusted(serve, tmp_path):
    files = issue(tmp_path / "server", "gpu-box.example", by="servers")
    address = serve(Security(tls=Tls.load(files.cert, files.key)))
    error = refusal(address, Access.load(tls_ca=files.ca))
    assert "its certificate is not trusted: IP address mismatch" in error.message


def test_where_nothing_listens_tls_is_not_blamed(server_files):
    error = refusal("127.0.0.1:1", Access.load(tls_ca=server_files.ca))
    assert "no env server answers" in error.message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_cert", "tls_ca"}, "tls_cert is set without env.server.tls_key"),
        ({"tls_key", "tls_ca"}, "tls_key is set without env.server.tls_cert"),
        ({"tls_cert", "tls_key"}, "tls_cert is set without env.server.tls_ca"),
    ],
)
def test_half_a_setup_is_refused(server_files, given, words):
    paths = {
        "tls_ca": server_files.ca,
        "tls_cert": server_files.cert,
        "tls_key": server_files.key,
    }
    with pytest.raises(EnvAccessError, match=f"env.server.{words}"):
        Access.load(**{key: paths[key] for key in given})


def test_files_that_cannot_be_used_are_named_with_their_key(tmp_path, server_files, token_file):
    paths: dict[str, Any] = {
        "token_file": token_file,
        "tls_ca": server_files.ca,
        "tls_cert": server_files.cert,
        "tls_key": server_files.key,
    }
    for key in paths:
        with pytest.raises(EnvAccessError, match=f"env.server.{key}: .*No such file"):
            Access.load(**{**paths, key: tmp_path / "missing"})
    os.chmod(token_file, 0o644)
    with pytest.raises(EnvAccessError, match=r"env.server.token_file: .*chmod 600"):
        Access.load(token_file=token_file)
    with pytest.raises(EnvAccessError, match=r"env.server.tls_ca: .*holds no certificate"):
        Access.load(tls_ca=server_files.key)


def test_a_key_of_another_certificate_is_refused_before_anything_connects(
    server_files, client_files
):
    with pytest.raises(EnvAccessError) as caught:
        Access.load(tls_ca=server_files.ca, tls_cert=client_files.cert, tls_key=server_files.key)
    assert str(caught.value) == (
        f"env.server.tls_key: {server_files.key} does not belong to the certificate "
        f"{client_files.cert}"
    )


def test_the_repr_has_no_secret(server_files, token_file):
    access = Access.load(
        token_file=token_file,
        tls_ca=server_files.ca,
        tls_cert=server_files.cert,
        tls_key=server_files.key,
    )
    assert repr(access) == "Access()"


def test_a_token_that_leaves_the_machine_unencrypted_is_warned_of_once(caplog):
    caplog.set_level(logging.WARNING)
    for address in ("192.0.2.7:80", "192.0.2.7:80", "127.0.0.1:80", "unix:/run/a/s.sock"):
        open_channel(address, Access(TOKEN)).close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "192.0.2.7:80 crosses the network unencrypted" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("unix:/run/s.sock", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("127.9.9.9:1", True),
        ("gpu-box:1", False),
        ("192.0.2.7:1", False),
    ],
)
def test_what_stays_on_the_machine(address, local):
    assert _is_local(address) is local


def test_a_server_with_a_token_answers_the_first_check_within_its_patience(serve):
    address = serve(Security(TOKEN))
    access = Access(TOKEN)
    with open_channel(address, access) as channel:
        assert check_server(channel, address, 10.0, access).protocol_major == 1


def test_a_run_reaches_its_server_with_what_its_config_names(
    serve, make_pool, server_files, client_files, token_file
):
    tls = Tls.load(server_files.cert, server_files.key, client_files.ca)
    server = {
        "address": serve(Security(TOKEN, tls)),
        "token_file": str(token_file),
        "tls_ca": str(server_files.ca),
        "tls_cert": str(client_files.cert),
        "tls_key": str(client_files.key),
    }
    pool = make_pool(backend="echo", task="echo", num_envs=2, server=server)
    pool.open()
    assert pool.reset().is_first.all()


def test_a_run_without_the_token_ends_with_the_setting_to_mend(serve, make_pool):
    server = {"address": serve(Security(TOKEN)), "start_timeout_s": 1.0}
    pool = make_pool(backend="echo", task="echo", num_envs=1, server=server)
    with pytest.raises(EnvUnreachable, match="refuses this learner") as caught:
        pool.open()
    assert caught.value.hint is not None
    assert "env.server.token_file" in caught.value.hint


def _mutual(server: Files, client: Files) -> Security:
    return Security(tls=Tls.load(server.cert, server.key, client.ca))
