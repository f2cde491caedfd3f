from __future__ import annotations

import logging
from pathlib import Path

import pytest
from wmrun_envserver.server.address import parse_address
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.security import Security, SecurityError
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.server.tls import Tls

from tests.envserver.certificates import Files, issue
from tests.envserver.server.scripted import ScriptedBackend

TOKEN = "0123456789abcdef" * 4
ELSEWHERE = ["0.0.0.0:80", "[::]:80", "192.168.1.4:80", "[fe80::1]:80"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    return issue(tmp_path_factory.mktemp("tls") / "server")


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize(
    ("has_token", "has_tls", "has_client_ca", "missing"),
    [
        (False, False, False, "unencrypted and without proving who they are"),
        (True, False, False, "unencrypted"),
        (False, True, False, "without proving who they are"),
        (True, True, False, None),
        (False, True, True, None),
        (True, True, True, None),
    ],
)
def test_other_machines_need_tls_and_credentials(
    files, address, has_token, has_tls, has_client_ca, missing
):
    tls = Tls.load(files.cert, files.key, files.ca if has_client_ca else None) if has_tls else None
    token = TOKEN if has_token else None
    where = parse_address(address)
    if missing is None:
        assert Security(token, tls).check(where) is None
        return
    with pytest.raises(SecurityError, match=rf"could connect {missing}\. Add --tls-cert FILE"):
        Security(token, tls).check(where)
    warning = Security(token, tls, insecure=True).check(where)
    assert warning is not None
    assert warning.startswith("INSECURE: every machine that reaches")
    assert missing in warning


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80"])
def test_loopback_needs_nothing_but_says_that_every_user_can_connect(files, address):
    where = parse_address(address)
    warning = Security().check(where)
    assert warning is not None
    assert "every user of this machine can connect" in warning
    assert "--token-file" in warning
    assert Security(TOKEN).check(where) is None
    assert Security(tls=Tls.load(files.cert, files.key, files.ca)).check(where) is None


def test_a_server_warns_of_an_open_port_once(caplog):
    caplog.set_level(logging.INFO)
    server = EnvServer(Catalogue(ScriptedBackend()), parse_address("127.0.0.1:0"))
    server.start()
    assert server.drain(5.0)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert f"can connect to {server.address}: no token" in warning


def test_a_unix_socket_needs_nothing_and_takes_no_tls(files):
    where = parse_address("unix:/run/a/s.sock")
    assert Security().check(where) is None
    assert Security(TOKEN).check(where) is None
    with pytest.raises(SecurityError, match="is a Unix socket, which no other machine can reach"):
        Security(tls=Tls.load(files.cert, files.key)).check(where)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_cert"}, "both --tls-cert FILE and --tls-key FILE"),
        ({"tls_key"}, "both --tls-cert FILE and --tls-key FILE"),
        ({"tls_client_ca"}, "both --tls-cert FILE and --tls-key FILE, also with --tls-client-ca"),
    ],
)
def test_half_a_setup_is_refused(files, given, words):
    paths = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": files.ca}
    with pytest.raises(SecurityError, match=words):
        Security.load(**{key: paths[key] for key in given})


def test_a_key_open_to_others_is_refused_with_the_remedy(tmp_path):
    files = issue(tmp_path / "server")
    files.key.chmod(0o640)
    with pytest.raises(SecurityError, match=r"--tls-key: .*mode 0640.*chmod 600"):
        Security.load(tls_cert=files.cert, tls_key=files.key)


def test_a_key_of_another_certificate_is_refused(tmp_path):
    ours, other = issue(tmp_path / "ours"), issue(tmp_path / "other")
    with pytest.raises(SecurityError, match="does not belong to the certificate"):
        Security.load(tls_cert=ours.cert, tls_key=other.key)


@pytest.mark.parametrize("flag", ["tls_cert", "tls_key", "tls_client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"\x00garbage"], ids=["missing", "empty", "binary"])
def test_files_that_cannot_be_used_are_named(tmp_path, flag, content):
    files = issue(tmp_path / "server")
    path = tmp_path / "broken.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    paths: dict[str, Path] = {
        "tls_cert": files.cert,
        "tls_key": files.key,
        "tls_client_ca": files.ca,
        flag: path,
    }
    with pytest.raises(SecurityError, match=f"--{flag.replace('_', '-')}.*broken.pem"):
        Security.load(**paths)


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(tmp_path):
    from cryptography.hazmat.primitives import serialization

    files = issue(tmp_path / "server")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(SecurityError, match="the key is encrypted; expected one without"):
        Security.load(tls_cert=files.cert, tls_key=files.key)


def test_no_secret_is_in_the_repr(files):
    security = Security.load(tls_cert=files.cert, tls_key=files.key)
    assert "PRIVATE" not in repr(security)
