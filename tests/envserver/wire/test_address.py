"""What a client can dial."""

from __future__ import annotations

import pytest
from wmrun_envserver.wire.address import is_address


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:5005",
        "localhost:1",
        "gpu-box.lab.example:65535",
        "env_server:5005",
        "[::1]:5005",
        "[fe80::1:2]:60000",
        "unix:/run/envs/server.sock",
        "unix:///run/envs/server.sock",
        "unix:/srv/a directory/s",
    ],
)
def test_sockets_by_their_path_and_ports_of_named_hosts_can_be_dialled(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        ":5005",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:99999",
        "127.0.0.1:05005",
        "127.0.0.1: 5005",
        "127.0.0.1:5005\n",
        "127.0.0.1:port",
        "::1:5005",
        "[::1]",
        "[gpu]:5005",
        "http://gpu-box:5005",
        "gpu-box:5005/",
        "dns:///gpu-box:5005",
        "unix:server.sock",
        "unix:",
        "unix:/",
        "unix://server.sock",
        "/run/envs/server.sock",
    ],
)
def test_whatever_grpc_would_guess_at_is_no_address(text: str) -> None:
    assert not is_address(text)
