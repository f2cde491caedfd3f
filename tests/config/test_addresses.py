"""The addresses of env servers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.config.conftest import VALID, Write
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError
from wmrun.config.schema import ServerConfig


@pytest.mark.parametrize("address", ["simulators:5005", "[::1]:5005", "unix:/run/env.sock"])
def test_an_address_is_kept_as_it_is_written(write: Write, address: str) -> None:
    config = load_config(write("walk.yaml", VALID), [f"env.server.address='{address}'"])
    assert config.env.server.address == address


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:99999", "http://gpu:5005", ":5005"])
def test_what_is_no_address_is_refused_with_examples_of_what_is(write: Write, address: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write("walk.yaml", VALID), [f"env.server.address='{address}'"])
    (problem,) = raised.value.problems
    assert problem.path == "env.server.address"
    assert problem.expected == (
        "HOST:PORT, as simulators:5005 or [::1]:5005 (ports 1 to 65535), "
        "or unix:/DIR/NAME.sock or null"
    )


def test_addresses_given_in_python_are_checked_alike() -> None:
    assert ServerConfig(address="127.0.0.1:65535").address == "127.0.0.1:65535"
    with pytest.raises(ValidationError, match="address"):
        ServerConfig(address="127.0.0.1:65536")
