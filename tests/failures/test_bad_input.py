"""What servers and environments send that they may not: refused by name, and nothing is left open.

Peers of other versions are in tests/envs/test_client.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wmrun_envserver.wire import messages, tensors

from tests.envs.proxies import Rewrite, rewriting
from tests.failures.conftest import Site
from wmrun.config.schema import EnvConfig, ServerConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.channel import check_server, open_channel
from wmrun.envs.driver import Driver
from wmrun.envs.errors import EnvDataError, EnvError, EnvProtocolError
from wmrun.envs.pool import EnvPool
from wmrun.errors import ExitCode

ACTION = np.zeros((2, 2), np.float32)


@pytest.fixture(scope="module")
def server(site: Site, socket_address: str) -> Iterator[subprocess.Popen[str]]:
    with site.serving("--listen", socket_address) as process:
        yield process


@pytest.fixture
def free_before(server: subprocess.Popen[str], socket_address: str) -> int:
    return _free_sessions(socket_address)


def _free_sessions(address: str) -> int:
    with open_channel(address) as channel:
        return check_server(channel, address, 10.0).limits.free_sessions


def _pool(address: str, folder: Path) -> EnvPool:
    config = EnvConfig(
        backend="fragile",
        task="echo",
        num_envs=2,
        options={"length": 100},
        server=ServerConfig(address=address),
    )
    return EnvPool(config, log_dir=folder, seed=0, role="train")


def _driver(pool: EnvPool) -> Driver:
    return Driver(pool, ActionAdapter(pool.spec.act_space, clip=True))


def _longer(reply: messages.StepReply) -> bytes:
    reply.rows.obs[0].CopyFrom(tensors.encode(np.zeros((2, 7), np.float32)))
    return reply.SerializeToString()


def _doubles(reply: messages.StepReply) -> bytes:
    reply.rows.obs[0].CopyFrom(tensors.encode(np.zeros((2, 4), np.float64)))
    return reply.SerializeToString()


def _short(reply: messages.StepReply) -> bytes:
    reply.rows.obs[0].data = reply.rows.obs[0].data[:-1]
    return reply.SerializeToString()


def _without_a_leaf(reply: messages.StepReply) -> bytes:
    del reply.rows.obs[0]
    return reply.SerializeToString()


def _without_a_reward(reply: messages.StepReply) -> bytes:
    del reply.rows.reward[1]
    return reply.SerializeToString()


@pytest.mark.parametrize(
    ("rewrite", "words"),
    [
        (_longer, "observation 'vector' as float32 [2, 7], its space says float32 [2, 4]"),
        (_doubles, "observation 'vector' as float64 [2, 4], its space says float32 [2, 4]"),
        (_short, "float32 tensor of shape [2, 4] needs 32 bytes, got 31"),
        (_without_a_leaf, "0 observation leaves where its space has 1"),
        (_without_a_reward, "1 values of reward for 2 rows"),
    ],
)
@pytest.mark.parametrize("call", ["Reset", "Step"])
def test_a_reply_of_the_wrong_shape_is_refused_and_its_session_closed(
    free_before: int,
    socket_address: str,
    tmp_path: Path,
    call: str,
    rewrite: Rewrite,
    words: str,
) -> None:
    with (
        rewriting(socket_address, {}, {call: rewrite}) as address,
        _pool(address, tmp_path) as pool,
    ):
        driver = _driver(pool)
        if call == "Step":
            driver.reset()
        with pytest.raises(EnvProtocolError) as caught:
            driver.reset() if call == "Reset" else driver.step(ACTION)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.ENV
    assert _free_sessions(socket_address) == free_before


def test_an_environment_whose_spaces_change_at_a_reset_stops_the_run_by_name(
    site: Site,
    server: subprocess.Popen[str],
    free_before: int,
    socket_address: str,
    tmp_path: Path,
) -> None:
    with _pool(socket_address, tmp_path) as pool:
        driver = _driver(pool)
        driver.reset()
        site.orders.put(server.pid, "end")
        assert driver.step(ACTION).is_terminal.sum() == 1
        site.orders.put(server.pid, "grow")
        with pytest.raises(EnvDataError) as caught:
            driver.step(ACTION)
    assert "observation leaf 'vector' must be float32[4], got float32[9]" in str(caught.value)
    assert caught.value.hint is not None
    assert _free_sessions(socket_address) == free_before


def test_a_session_whose_spaces_cannot_be_read_is_closed_again(
    free_before: int, socket_address: str, tmp_path: Path
) -> None:
    def without_bounds(reply: messages.OpenSessionReply) -> bytes:
        reply.observation_space.dict.entries[0].space.box.ClearField("dtype")
        return reply.SerializeToString()

    with (
        rewriting(socket_address, {}, {"OpenSession": without_bounds}) as address,
        pytest.raises(EnvError, match="malformed space"),
    ):
        _pool(address, tmp_path).open()
    assert _free_sessions(socket_address) == free_before
