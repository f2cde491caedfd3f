from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from wmrun_envserver.server.address import (
    AddressError,
    TcpAddress,
    UnixAddress,
    claimed,
    parse_address,
)
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.security import Security
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
    ("text", "is_loopback"),
    [
        ("127.0.0.1:80", True),
        ("127.8.9.1:80", True),
        ("[::1]:80", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("192.168.1.4:80", False),
        ("[fe80::1]:80", False),
    ],
)
def test_an_address_knows_whether_other_machines_reach_it(text, is_loopback):
    assert parse_address(text).is_loopback is is_loopback


@pytest.mark.parametrize("text", ["example.org:80", "*:80", "127.1:80", "2130706433:80"])
def test_a_host_is_named_by_its_ip_address(text):
    with pytest.raises(AddressError, match=r"is not the IP address of an interface; expected"):
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
    with pytest.raises(AddressError, match=f"mode {mode:04o}.*mkdir -m 700"):
        _claim(socket_dir / "s.sock")


def test_a_missing_directory_is_refused(socket_dir):
    with pytest.raises(AddressError, match="No such file or directory"):
        _claim(socket_dir / "deeper" / "s.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(socket_dir):
    os.chown(socket_dir, 65534, -1)
    with pytest.raises(AddressError, match="belongs to another user"):
        _claim(socket_dir / "s.sock")


def test_a_socket_that_nobody_answers_on_is_removed(socket_dir):
    path = socket_dir / "s.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    assert path.exists()
    _claim(path)
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(socket_dir):
    path = socket_dir / "s.sock"
    path.write_text("notes")
    with pytest.raises(AddressError, match="is not a socket"):
        _claim(path)
    assert path.read_text() == "notes"


def test_a_socket_in_use_is_not_taken_over(serve):
    server = serve()
    with pytest.raises(AddressError, match="another server listens there"):
        EnvServer(Catalogue(ScriptedBackend()), server.address)
    client = Client(server.address)
    assert client.health() == 1
    client.close()


def test_a_socket_whose_queue_is_full_is_in_use(socket_dir):
    path = socket_dir / "s.sock"
    with ExitStack() as stack:
        stopped = stack.enter_context(socket.socket(socket.AF_UNIX))
        stopped.bind(str(path))
        stopped.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with ThreadPoolExecutor(1) as threads:
            claim = threads.submit(_claim, path)
            try:
                with pytest.raises(AddressError, match="another server listens there"):
                    claim.result(20)
            finally:
                stopped.close()  # which wakes whoever waits for it


def test_a_port_in_use_is_not_shared():
    first = EnvServer(Catalogue(ScriptedBackend()), TcpAddress("127.0.0.1", 0))
    first.start()
    in_use = f"{first.address}: cannot listen there: Address already in use"
    with pytest.raises(AddressError, match=in_use):
        EnvServer(Catalogue(ScriptedBackend()), first.address)
    assert first.drain(5.0)


def test_port_zero_becomes_the_port_that_was_chosen():
    server = EnvServer(Catalogue(ScriptedBackend()), TcpAddress("127.0.0.1", 0))
    server.start()
    client = Client(server.address)
    assert server.address.port > 0
    assert client.health() == 1
    client.close()
    assert server.drain(5.0)


def test_an_address_of_another_machine_cannot_be_bound():
    elsewhere = TcpAddress("192.0.2.1", 0)
    with pytest.raises(AddressError, match="cannot listen there: Cannot assign requested address"):
        EnvServer(Catalogue(ScriptedBackend()), elsewhere, security=Security(insecure=True))


def test_of_servers_that_start_at_once_on_one_path_one_gets_it(socket_dir):
    address = UnixAddress(socket_dir / "s.sock")
    start_line = threading.Barrier(4)

    def start(_: int) -> EnvServer | str:
        start_line.wait(20)
        try:
            return EnvServer(Catalogue(ScriptedBackend()), address)
        except AddressError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(start, range(4)))
    servers = [outcome for outcome in outcomes if isinstance(outcome, EnvServer)]
    assert len(servers) == 1
    assert outcomes.count(f"{address}: another server listens there") == 3
    servers[0].start()
    client = Client(address)
    assert client.health() == 1
    client.close()
    assert servers[0].drain(5.0)


def _claim(path: Path) -> None:
    with claimed(UnixAddress(path)):
        pass
