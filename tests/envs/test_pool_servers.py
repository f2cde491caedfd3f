"""Pools over several real servers: the others go on while one is away, and it comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.envs.conftest import LIMIT_S, kill_process, out_of_patience, stop_process, wait_for_exit
from tests.envs.faulty_backend import FAULT
from wmrun.config.schema import ServerShareConfig
from wmrun.envs import client, exchange, heartbeat, member
from wmrun.envs import pool as pools
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver, Transitions
from wmrun.envs.errors import EnvBudgetSpent, EnvProtocolError, EnvStartError, EnvUnreachable
from wmrun.envs.pool import EnvPool
from wmrun.envs.request import slot_seeds
from wmrun.envs.server_log import ServerLog
from wmrun.envs.supervisor import ServerProcess, start_server

MakePool = Callable[..., EnvPool]

pytestmark = pytest.mark.servers


@pytest.fixture
def make_two(make_pool: MakePool, faulty_backend: str) -> MakePool:
    """Build pools of three slots: two on a first server, one on a second."""

    def make(*servers: dict[str, object], **settings: object) -> EnvPool:
        shares = [
            ServerShareConfig(num_envs=num_envs, **keys)  # type: ignore[arg-type]
            for num_envs, keys in zip((2, 1), servers or ({}, {}), strict=True)
        ]
        defaults = {"backend": faulty_backend, "task": "Faulty-v0", "num_envs": 3}
        return make_pool(**{**defaults, "servers": shares, **settings})

    return make


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Keep lost servers from being started again until it is set."""
    gate = Event()
    monkeypatch.setattr(member.PoolMember, "_wait", lambda member, seconds: gate.wait(LIMIT_S))
    yield gate
    gate.set()


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, exchange):
        monkeypatch.setattr(module, "DEADLINE_MARGIN_S", 0.2)
    monkeypatch.setattr(member, "_LOST_GRACE_S", 0.1)
    monkeypatch.setattr(heartbeat, "PROBE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(pools, "_STRAGGLER_PATIENCE_S", 1.0)


def driver_of(pool: EnvPool) -> Driver:
    return Driver(pool, ActionAdapter(pool.open().act_space))


def stepped(driver: Driver, rows: Transitions, value: float = 0.0) -> Transitions:
    return driver.step(np.full((len(rows.slots), 1), value, np.float32))


def endlessly(driver: Driver, rows: Transitions) -> None:
    while True:
        rows = stepped(driver, rows)


def until_back(driver: Driver, rows: Transitions) -> Transitions:
    """Step until every slot has a row again."""
    deadline = time.monotonic() + LIMIT_S
    while len(rows.slots) < driver.num_envs:
        assert time.monotonic() < deadline, f"only slots {rows.slots} are there"
        rows = stepped(driver, rows)
    return rows


def test_slots_are_numbered_over_the_servers_in_order(make_two: MakePool, tmp_path: Path) -> None:
    pool = make_two(seed=3)
    driver = driver_of(pool)
    rows = driver.reset()
    assert rows.slots.tolist() == rows.info["seed"].slots.tolist() == [0, 1, 2]
    assert rows.info["seed"].values.tolist() == slot_seeds(3, "train", 0, 3)
    rows = driver.step(np.array([[0.1], [0.2], [0.3]], np.float32))
    np.testing.assert_allclose(rows.obs["vector"], [[1, 0.1], [1, 0.2], [1, 0.3]], rtol=1e-6)
    rows = driver.reset(seeds=[11, 12, 13])
    assert rows.info["seed"].values.tolist() == [11, 12, 13]
    assert len(set(pool.server_pids())) == 2
    logs = sorted(path.name for path in (tmp_path / "env_servers").iterdir())
    assert logs == ["train-0.log", "train-1.log"]


def test_slots_of_other_servers_go_on_while_one_is_brought_back(
    make_two: MakePool, gate: Event
) -> None:
    pool = make_two(seed=3)
    driver = driver_of(pool)
    rows = stepped(driver, driver.reset(), 0.5)
    kill_process(pool.server_pids()[1])
    for step in range(2, 6):
        rows = stepped(driver, rows)
        assert (rows.slots.tolist(), rows.broken) == ([0, 1], ())
        assert rows.obs["vector"][:, 0].tolist() == [step, step]
    gate.set()
    rows = until_back(driver, rows)
    assert rows.broken == (2,)
    assert rows.is_first.tolist() == [False, False, True]
    (failure,) = rows.errors
    assert (failure.slots, failure.reason) == ((2,), "SERVER_LOST")
    assert "was killed by SIGKILL" in failure.message
    assert "train-1.log" in failure.message
    assert rows.info["seed"].values[-1] == slot_seeds(3, "train", 1, 3)[2]
    assert pool.save() == {"times_opened": 2}
    rows = stepped(driver, rows)
    assert (rows.slots.tolist(), rows.broken, rows.obs["vector"][2, 0]) == ([0, 1, 2], (), 1)


def test_server_that_is_stopped_is_replaced_while_the_others_step(
    make_two: MakePool, short_limits: None
) -> None:
    pool = make_two({}, {"step_timeout_s": 0.2})
    driver = driver_of(pool)
    rows = driver.reset()
    stopped = pool.server_pids()[1]
    stop_process(stopped)
    rows = stepped(driver, rows)
    assert rows.slots.tolist() == [0, 1]
    rows = until_back(driver, rows)
    assert rows.broken == (2,)
    assert "the env server hangs" in rows.errors[0].message
    assert stopped not in pool.server_pids()


def test_server_that_is_slow_loses_nothing(make_two: MakePool) -> None:
    pool = make_two()
    driver = driver_of(pool)
    rows = driver.reset()
    slow = pool.server_pids()[1]
    stop_process(slow)
    with out_of_patience(pool, 1):
        rows = stepped(driver, rows, 0.5)
    assert rows.slots.tolist() == [0, 1]
    os.kill(slow, signal.SIGCONT)
    rows = until_back(driver, rows)
    assert (rows.broken, rows.is_first.tolist()) == ((), [False, False, False])
    assert (rows.obs["vector"][2].tolist(), rows.action[2].tolist()) == ([1, 0.5], [0.5])


def test_call_waits_when_no_server_is_left(make_two: MakePool) -> None:
    pool = make_two(options={"fault": "die"})
    driver = driver_of(pool)
    rows = stepped(driver, driver.reset(), FAULT)
    assert set(rows.broken) == set(rows.slots.tolist()) != set()
    seen = set(rows.broken)
    while len(rows.slots) < 3:
        rows = stepped(driver, rows)
        seen |= set(rows.broken)
    assert seen == {0, 1, 2}


def test_budget_that_is_spent_on_one_server_ends_the_run(make_two: MakePool) -> None:
    never = {"restarts": {"max": 0, "per_window": 1, "window_s": 300.0}}
    pool = make_two({}, never)
    driver = driver_of(pool)
    rows = driver.reset()
    kill_process(pool.server_pids()[1])
    with pytest.raises(EnvBudgetSpent) as caught:
        endlessly(driver, rows)
    assert caught.value.message.startswith(
        "the train environments of env.servers[1] were lost 1 times, "
        "env.servers[1].restarts allows 0 in all, 1 within 300 s. The last time: "
    )
    assert "train-1.log" in caught.value.message
    assert caught.value.exit_code == 3


def test_closing_while_a_server_starts_again_ends_what_was_started(
    make_two: MakePool, tmp_path: Path
) -> None:
    """The second server comes up once; then it is never ready."""
    script, pid_file = tmp_path / "python", tmp_path / "pid"
    script.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/hang ] || exec {sys.executable} "$@"\n'
        f"echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file}; exec tail -f /dev/null\n"
    )
    script.chmod(0o755)
    pool = make_two({}, {"python": str(script), "start_timeout_s": 600.0})
    driver = driver_of(pool)
    rows = driver.reset()
    (tmp_path / "hang").touch()
    kill_process(pool.server_pids()[1])
    deadline = time.monotonic() + LIMIT_S
    while not pid_file.exists():
        assert time.monotonic() < deadline
        rows = stepped(driver, rows)
    started = os.pidfd_open(int(pid_file.read_text()))
    pool.close()
    assert wait_for_exit(started)
    assert pool.server_pids() == []


def test_a_server_here_and_one_elsewhere_step_together(
    make_two: MakePool, faulty_backend: str, tmp_path: Path
) -> None:
    elsewhere = serve(faulty_backend, tmp_path)
    try:
        pool = make_two({}, {"address": elsewhere.address})
        driver = driver_of(pool)
        rows = stepped(driver, driver.reset(), 0.5)
        assert rows.obs["vector"].tolist() == [[1, 0.5]] * 3
        assert len(pool.server_pids()) == 1
        pool.close()
        assert not elsewhere.exited()
    finally:
        elsewhere.stop()


def test_servers_with_different_spaces_are_refused_by_name(
    make_two: MakePool, tmp_path: Path
) -> None:
    elsewhere = serve("echo", tmp_path)
    try:
        pool = make_two({}, {"address": elsewhere.address}, backend="echo", task="echo")
        pool._members[1]._config = pool._config.model_copy(update={"options": {"obs_size": 7}})
        with pytest.raises(EnvProtocolError) as caught:
            pool.open()
    finally:
        elsewhere.stop()
    assert caught.value.message == (
        f"env.servers[0] and env.servers[1] ({elsewhere.address}) offer echo with different "
        "spaces: observation 'vector' is Box float32 [4] and Box float32 [7]"
    )
    assert pool.server_pids() == []


def test_server_that_cannot_start_leaves_none_running(make_two: MakePool) -> None:
    pool = make_two({}, {"python": "/nowhere/python"})
    with pytest.raises(EnvStartError) as caught:
        pool.open()
    assert caught.value.message.startswith("env.servers[1].python: cannot run '/nowhere/python': ")
    assert pool.server_pids() == []


def test_server_elsewhere_is_shown_its_token_and_no_other_is(
    make_two: MakePool, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    envserver = [sys.executable, "-m", "wmrun_envserver"]
    subprocess.run([*envserver, "token", str(token)], check=True, stdout=subprocess.DEVNULL)
    command = [*envserver, "serve", "--backend", "echo", "--token-file", str(token)]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            echo = {"backend": "echo", "task": "echo"}
            with make_two({}, {"address": address, "token_file": str(token)}, **echo) as pool:
                assert pool.reset().slots.tolist() == [0, 1, 2]
            with pytest.raises(EnvUnreachable) as caught:
                make_two({}, {"address": address}, **echo).open()
        finally:
            process.terminate()
    assert "env.servers[1].token_file" in (caught.value.hint or "")
    assert token.read_text().strip() not in str(caught.value)


@pytest.mark.parametrize("fault", ["hang", "die"])
def test_slot_in_a_worker_that_fails_is_missing_until_its_server_restarted_it(
    make_pool: MakePool, faulty_backend: str, fault: str
) -> None:
    pool = make_pool(
        backend=faulty_backend,
        task="Faulty-v0",
        num_envs=2,
        options={"fault": fault},
        server={"workers": 2, "step_timeout_s": 0.5},
    )
    driver = driver_of(pool)
    rows = driver.reset()
    server = pool.server_pids()
    rows = driver.step(np.array([[0.5], [FAULT]], np.float32))
    assert rows.slots[0] == 0
    rows = until_back(driver, rows)
    assert (rows.broken, rows.is_first.tolist()) == ((1,), [False, True])
    assert rows.errors[0].slots == (1,)
    assert pool.server_pids() == server
    assert stepped(driver, rows).obs["vector"][1, 0] == 1


def serve(backend: str, folder: Path) -> ServerProcess:
    log = ServerLog(folder / "elsewhere.log")
    return start_server(python=None, backend=backend, log=log, timeout_s=LIMIT_S)
