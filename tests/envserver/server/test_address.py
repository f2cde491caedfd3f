from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from wmrun_envserver.server.address import (
    AddressError,
    TcpAddress,
    UnixAddress,
    claim,
    parse_address,
)
from wmrun_envserver.server.server import EnvServer

from tests.envserver.server.client import Client
from tests.envserver.server.scripted import ScriptedBackend


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("unix:/run/a/s.sock", UnixAddress(Path("/run/a/s.sock")), "unix:/run/a/s.sock"),
        ("unix:///run/a/s.sock", UnixAddress(Path("/run/a/s.sock")), "unix:/run/a/s.sock"),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0), "127.0.0.1:0"),
        ("127.8.9.1:80", TcpAddress("127.8.9.1", 80), "127.8.9.1:80"),
        ("localhost:5005", TcpAddress("127.0.0.1", 5005), "127.0.0.1:5005"),
        ("[::1]:5005", TcpAddress("::1", 5005), "[::1]:5005"),
    ],
)
def test_unix_and_loopback_addresses_are_accepted(text, address, shown):
    assert parse_address(text) == address
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:80", "[::]:80", "192.168.1.4:80", "example.org:80", "[fe80::1]:80", "*:80"],
)
def test_other_machines_cannot_be_served(text):
    with pytest.raises(AddressError, match=r"is not a loopback address.*expected unix:"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not an address"),
        ("5005", "is not an address"),
        ("127.0.0.1", "is not an address"),
        ("127.0.0.1:", "is not an address"),
        ("127.0.0.1:99999", "is not an address"),
        ("127.0.0.1:http", "is not an address"),
        ("unix:s.sock", "needs an absolute path"),
        ("unix:", "needs an absolute path"),
        ("unix:/run/a/", "needs an absolute path"),
        ("unix-abstract:name", "have no permissions"),
        ("unix:/" + "a" * 107, "the path has 108 bytes, a Unix socket's may have 107"),
    ],
)
def test_a_malformed_address_is_refused_with_the_reason(text, words):
    with pytest.raises(AddressError, match=words):
        parse_address(text)


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o770])
def test_a_directory_open_to_others_is_refused_with_the_remedy(socket_dir, mode):
    socket_dir.chmod(mode)
    with pytest.raises(AddressError, match=f"mode {mode:04o}.*chmod 700 {socket_dir}"):
        claim(UnixAddress(socket_dir / "s.sock"))


def test_a_missing_directory_is_refused(socket_dir):
    with pytest.raises(AddressError, match="No such file or directory"):
        claim(UnixAddress(socket_dir / "deeper" / "s.sock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(socket_dir):
    os.chown(socket_dir, 65534, -1)
    with pytest.raises(AddressError, match="belongs to another user"):
        claim(UnixAddress(socket_dir / "s.sock"))


def test_a_socket_that_nobody_answers_on_is_removed(socket_dir):
    path = socket_dir / "s.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    assert path.exists()
    claim(UnixAddress(path))
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(socket_dir):
    path = socket_dir / "s.sock"
    path.write_text("notes")
    with pytest.raises(AddressError, match="is not a socket"):
        claim(UnixAddress(path))
    assert path.read_text() == "notes"


def test_a_socket_in_use_is_not_taken_over(serve):
    server = serve()
    with pytest.raises(AddressError, match="another server listens there"):
        EnvServer(ScriptedBackend(), server.address)
    client = Client(server.address)
    assert client.health() == 1
    client.close()


def test_a_port_in_use_is_not_shared():
    first = EnvServer(ScriptedBackend(), TcpAddress("127.0.0.1", 0))
    first.start()
    with pytest.raises(AddressError, match=f"{first.address}: cannot listen there"):
        EnvServer(ScriptedBackend(), first.address)
    assert first.drain(5.0)


def test_port_zero_becomes_the_port_that_was_chosen():
    server = EnvServer(ScriptedBackend(), TcpAddress("127.0.0.1", 0))
    server.start()
    client = Client(server.address)
    assert server.address.port > 0
    assert client.health() == 1
    client.close()
    assert server.drain(5.0)
