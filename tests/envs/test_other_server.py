"""Servers that come back at their address as others than they were."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.envs.test_client import listening
from wmrun.envs.errors import EnvProtocolError, EnvRefused
from wmrun.envs.pool import EnvPool

MakePool = Callable[..., EnvPool]

CART_POLE = "game=gymnasium.envs.classic_control:CartPoleEnv"
PENDULUM = "game=gymnasium.envs.classic_control:PendulumEnv"


@pytest.fixture
def address() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/s.sock"


def end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()


def make_lost_pool(make_pool: MakePool, address: str) -> EnvPool:
    """Return a pool that was reset, and whose server is gone."""
    pool = make_pool(backend="gym", task="game", server={"address": address})
    with listening(address, "--env", PENDULUM, backend="gym") as first:
        pool.open()
        pool.reset()
        end(first)
    return pool


def test_other_spaces_are_told_with_the_address_and_what_to_do(
    make_pool: MakePool, address: str
) -> None:
    pool = make_lost_pool(make_pool, address)
    with (
        listening(address, "--env", CART_POLE, backend="gym"),
        pytest.raises(EnvProtocolError) as caught,
    ):
        pool.step([np.zeros((1, 1), np.float32)])
    assert caught.value.message == (
        f"the env server at {address} came back with other spaces of game: observation "
        "'vector' was Box float32 [3] when the run began, now Box float32 [4]"
    )
    assert caught.value.hint is not None
    assert "wmrun resume" in caught.value.hint


def test_a_task_that_is_gone_ends_the_run_at_the_first_try(
    make_pool: MakePool, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_lost_pool(make_pool, address)
    with listening(address, backend="gym"), pytest.raises(EnvRefused) as caught:
        pool.step([np.zeros((1, 1), np.float32)])
    assert caught.value.message.startswith(
        f"the env server at {address} came back and refuses the session: env.task: "
    )
    assert len([r for r in caplog.records if "opening another session" in r.message]) == 1
