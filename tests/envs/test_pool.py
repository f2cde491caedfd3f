"""Pools on real server processes: what the loop sees when these are killed, hang or fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wmrun_envserver.wire import spaces

from tests.envs.conftest import stop_process, wait_for_exit
from tests.envs.faulty_backend import FAULT
from wmrun.envs import call_watch, client, exchange, heartbeat, member
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.errors import (
    EnvBudgetSpent,
    EnvDataError,
    EnvRequestError,
    EnvStartError,
    EnvUnreachable,
)
from wmrun.envs.pool import EnvPool
from wmrun.envs.request import slot_seeds

MakePool = Callable[..., EnvPool]


@pytest.fixture
def make_faulty(make_pool: MakePool, faulty_backend: str) -> MakePool:
    def make(**settings: object) -> EnvPool:
        return make_pool(**{"backend": faulty_backend, "task": "Faulty-v0", **settings})

    return make


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, exchange):
        monkeypatch.setattr(module, "DEADLINE_MARGIN_S", 0.2)
    monkeypatch.setattr(member, "_LOST_GRACE_S", 0.1)


def driver_of(pool: EnvPool) -> Driver:
    return Driver(pool, ActionAdapter(pool.open().act_space))


def actions(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def server_pid(pool: EnvPool) -> int:
    (pid,) = pool.server_pids()
    return pid


def test_slots_are_stepped_together_and_the_row_after_an_end_begins_an_episode(
    make_faulty: MakePool,
) -> None:
    driver = driver_of(make_faulty(num_envs=2, options={"length": 2}))
    rows = [driver.reset()] + [driver.step(actions(0.25, -0.5)) for _ in range(3)]
    assert [row.obs["vector"][:, 0].tolist() for row in rows] == [[0, 0], [1, 1], [2, 2], [2, 2]]
    assert [row.action[:, 0].tolist() for row in rows] == [
        [0, 0],
        [0.25, -0.5],
        [0.25, -0.5],
        [0, 0],
    ]
    assert [row.reward.tolist() for row in rows] == [[0, 0], [1, 1], [2, 2], [0, 0]]
    assert [row.is_first.all() for row in rows] == [True, False, False, True]
    assert [row.is_terminal.all() for row in rows] == [False, False, True, False]


def test_time_limit_truncates_and_action_repeat_adds_rewards(make_pool: MakePool) -> None:
    settings = {"action_repeat": 2, "time_limit": 4, "options": {"length": 100}}
    driver = driver_of(make_pool(backend="echo", task="echo", **settings))
    rows = [driver.reset()] + [driver.step(np.full((1, 2), 0.5, np.float32)) for _ in range(3)]
    assert [row.obs["vector"][0, :2].tolist() for row in rows] == [
        [0, 0],
        [2, 0.5],
        [4, 0.5],
        [0, 0],
    ]
    assert [row.reward[0] for row in rows] == [0, 1 + 2, 3 + 4, 0]
    assert [row.is_first[0] for row in rows] == [True, False, False, True]
    assert [row.is_last[0] for row in rows] == [False, False, True, False]
    assert not any(row.is_terminal[0] for row in rows)


def test_slot_that_fell_out_of_step_ends_its_episodes_on_its_own(make_faulty: MakePool) -> None:
    driver = driver_of(make_faulty(num_envs=2, options={"length": 2, "fault": "raise"}))
    driver.reset()
    moves = [actions(0, FAULT)] + [actions(0, 0)] * 4
    rows = [driver.step(move) for move in moves]
    assert [row.is_first.tolist() for row in rows] == [
        [False, True],
        [False, False],
        [True, False],
        [False, True],
        [False, False],
    ]
    assert [row.is_last.tolist() for row in rows] == [
        [False, False],
        [True, False],
        [False, True],
        [False, False],
        [True, False],
    ]
    assert [row.broken for row in rows] == [(1,), (), (), (), ()]


def test_spec_says_what_the_server_offers(make_faulty: MakePool) -> None:
    spec = make_faulty(options={"length": 7}).open()
    assert spec.obs_space == {"vector": spaces.Box((2,))}
    assert spec.act_space == spaces.Box((1,), low=-1, high=1)
    assert (spec.max_episode_steps, spec.seeds_per_reset, spec.renderer) == (7, True, None)


def test_killed_server_is_replaced_and_breaks_the_episodes_of_all_slots(
    make_faulty: MakePool,
) -> None:
    pool = make_faulty(num_envs=2)
    driver = driver_of(pool)
    driver.reset()
    driver.step(actions(0.5, 0.5))
    killed = server_pid(pool)
    os.kill(killed, signal.SIGKILL)

    row = driver.step(actions(0.5, 0.5))
    assert server_pid(pool) != killed
    assert row.broken == (0, 1)
    assert row.is_first.all()
    assert (row.action == 0).all()
    assert (row.reward == 0).all()
    (failure,) = row.errors
    assert (failure.slots, failure.reason) == ((0, 1), "SERVER_LOST")
    assert failure.message.startswith(
        "the env server ended. The env server was killed by SIGKILL. Last lines of "
    )

    row = driver.step(actions(0.5, 0.5))
    assert (row.broken, row.errors) == ((), ())
    assert row.obs["vector"].tolist() == [[1, 0.5], [1, 0.5]]


def test_death_within_a_begun_step_is_met_at_its_end(make_faulty: MakePool) -> None:
    driver = driver_of(make_faulty(options={"fault": "die"}))
    driver.reset()
    driver.step_begin(actions(FAULT))
    assert driver.step_end().broken == (0,)


def test_every_session_of_a_role_has_seeds_of_its_own(make_faulty: MakePool) -> None:
    pool = make_faulty(num_envs=2, seed=3)
    driver = driver_of(pool)
    before = driver.reset().info["seed"].values
    os.kill(server_pid(pool), signal.SIGKILL)
    after = driver.step(actions(0, 0)).info["seed"].values
    assert before.tolist() == slot_seeds(3, "train", 0, 2)
    assert after.tolist() == slot_seeds(3, "train", 1, 2)

    resumed = make_faulty(num_envs=2, seed=3)
    resumed.load(pool.save())
    assert driver_of(resumed).reset().info["seed"].values.tolist() == slot_seeds(3, "train", 2, 2)


def test_seeds_given_at_a_reset_are_used(make_faulty: MakePool) -> None:
    driver = driver_of(make_faulty(num_envs=2))
    assert driver.reset(seeds=[11, 12]).info["seed"].values.tolist() == [11, 12]


def test_environment_that_raises_breaks_its_own_slot_alone(make_faulty: MakePool) -> None:
    driver = driver_of(make_faulty(num_envs=2, options={"fault": "raise"}))
    driver.reset()
    row = driver.step(actions(0, FAULT))
    assert row.broken == (1,)
    assert row.is_first.tolist() == [False, True]
    assert row.errors[0].slots == (1,)
    assert "the simulator lost its physics" in row.errors[0].message
    assert driver.step(actions(0, 0)).obs["vector"][:, 0].tolist() == [2, 1]


def test_slot_that_raises_again_and_again_ends_the_run_with_its_traceback(
    make_faulty: MakePool,
) -> None:
    driver = driver_of(make_faulty(num_envs=2, options={"fault": "raise"}))
    driver.reset()
    for _ in range(3):
        rows = driver.step(actions(0, FAULT))
        while 1 not in rows.slots:  # its restart waits longer each time, the other slot goes on
            assert rows.slots.tolist() == [0]
            rows = driver.step(actions(0))
        assert rows.broken == (1,)
        driver.step(actions(*[0] * len(rows.slots)))
    with pytest.raises(EnvBudgetSpent) as caught:
        driver.step(actions(0, FAULT))
    message = str(caught.value)
    assert "slots [1] failed too often" in message
    assert 'raise RuntimeError("the simulator lost its physics")' in message
    assert "train.log" in message


def test_spent_budget_ends_the_run_with_cause_exit_code_and_log(
    make_faulty: MakePool, tmp_path: Path
) -> None:
    restarts = {"max": 5, "per_window": 1, "window_s": 300.0}
    pool = make_faulty(options={"fault": "die"}, server={"restarts": restarts})
    driver = driver_of(pool)
    driver.reset()
    assert driver.step(actions(FAULT)).broken == (0,)
    with pytest.raises(EnvBudgetSpent) as caught:
        driver.step(actions(FAULT))
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "the train environments were lost 2 times, env.server.restarts allows 5 in all, "
        "1 within 300 s. The last time: the env server ended. "
        "The env server was killed by SIGKILL. Last lines of "
        f"{tmp_path}/env_servers/train.log:"
    )
    assert lines[-1] == "  segmentation fault in the simulator"
    assert len(lines) < 20
    assert caught.value.exit_code == 3


def test_server_that_dies_before_it_can_be_used_again_spends_the_budget(
    make_faulty: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(member.PoolMember, "_wait", lambda self, seconds: waits.append(seconds))
    pool = make_faulty(options={"die_in_reset": True})
    pool.open()
    with pytest.raises(EnvBudgetSpent, match=r"lost 4 times, env\.server\.restarts allows 10 "):
        pool.reset()
    assert waits == [0.0, 1.0, 2.0]


def test_environment_that_hangs_costs_its_server(make_faulty: MakePool, short_limits: None) -> None:
    pool = make_faulty(options={"fault": "hang"}, server={"step_timeout_s": 0.2})
    driver = driver_of(pool)
    driver.reset()
    row = driver.step(actions(FAULT))
    assert row.broken == (0,)
    assert row.errors[0].message.startswith("an environment hangs: no reply within 0.2 s")


def test_server_that_is_stopped_is_replaced(
    make_faulty: MakePool, short_limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "PROBE_TIMEOUT_S", 0.3)
    pool = make_faulty(server={"step_timeout_s": 0.2})
    driver = driver_of(pool)
    driver.reset()
    stop_process(server_pid(pool))
    row = driver.step(actions(0))
    assert row.broken == (0,)
    assert row.errors[0].message.startswith("the env server hangs: no reply within 0.4 s")


def test_server_that_is_stopped_is_replaced_long_before_its_deadline(
    make_faulty: MakePool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "PROBE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(call_watch, "SLOW_CALL_S", 0.2)
    monkeypatch.setattr(member, "_LOST_GRACE_S", 0.1)
    pool = make_faulty(server={"step_timeout_s": 1e5, "reset_timeout_s": 1e5})
    driver = driver_of(pool)
    driver.reset()
    stopped = server_pid(pool)
    stop_process(stopped)
    driver.step_begin(actions(0))
    row = driver.step_end()
    assert row.broken == (0,)
    assert row.errors[0].message.startswith("the env server hangs: its process is stopped")
    end = f"The env server was stopped (pid {stopped}): killed, and another started. Last lines"
    assert end in row.errors[0].message
    told = [record.message for record in caplog.records if "no answer" in record.message]
    assert len(told) == 1
    assert told[0].startswith("waiting for the env server of train slot 0 (env.server, pid")


def test_observation_that_is_nan_is_refused(make_faulty: MakePool) -> None:
    driver = driver_of(make_faulty(num_envs=2, options={"fault": "nan"}))
    driver.reset()
    with pytest.raises(EnvDataError, match=r"observation 'vector' of slot 1, element \[1\] is nan"):
        driver.step(actions(0, FAULT))


def test_refused_action_is_told_in_the_words_of_the_server(make_faulty: MakePool) -> None:
    pool = make_faulty()
    pool.open()
    pool.reset()
    with pytest.raises(EnvRequestError) as caught:
        pool.step([np.array([[3.0]], np.float32)])
    assert caught.value.reason == "BAD_ACTION"
    assert "[-1.0, 1.0]" in caught.value.message
    assert pool.step([np.array([[0.5]], np.float32)]).obs["vector"].tolist() == [[1, 0.5]]


def test_unknown_task_is_an_error_of_the_config(make_faulty: MakePool) -> None:
    with pytest.raises(EnvStartError) as caught:
        make_faulty(task="Fault-v0").open()
    assert str(caught.value) == (
        "env.task: unknown environment 'Fault-v0', did you mean 'Faulty-v0'?"
    )


def test_task_is_what_its_source_says(make_pool: MakePool) -> None:
    source = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"
    pool = make_pool(backend="gym", task="mine", source=source)
    assert pool.open().act_space == spaces.Discrete(2)
    assert pool.reset().obs["vector"].shape == (1, 4)


def test_unknown_option_is_an_error_of_the_config(make_pool: MakePool) -> None:
    pool = make_pool(backend="echo", task="echo", options={"lenght": 3})
    with pytest.raises(EnvStartError, match=r"^env\.options\.lenght: .*length"):
        pool.open()


def test_environment_that_cannot_be_built_shows_its_traceback(make_faulty: MakePool) -> None:
    with pytest.raises(EnvStartError) as caught:
        make_faulty(task="Unbuildable-v0").open()
    assert "RuntimeError: no licence for the simulator" in caught.value.message
    assert 'raise RuntimeError("no licence for the simulator")' in str(caught.value)


def test_closing_leaves_no_process_file_or_descriptor(make_faulty: MakePool) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    pool = make_faulty()
    pool.open()
    pool.reset()
    server = pool._members[0]._server
    assert server is not None
    socket = Path(server.address.removeprefix("unix:"))
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    pidfd = os.pidfd_open(server.pid)
    pool.close()
    assert wait_for_exit(pidfd)
    assert not socket.parent.exists()
    assert set(os.listdir("/proc/self/fd")) <= descriptors


def test_server_ends_with_a_learner_that_is_killed(faulty_backend: str, tmp_path: Path) -> None:
    learner = subprocess.Popen(
        [sys.executable, "-c", _LEARNER, faulty_backend, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with learner:
        assert learner.stdout is not None
        pid, address = learner.stdout.readline().split()
        pidfd = os.pidfd_open(int(pid))
        learner.kill()
    assert wait_for_exit(pidfd)
    assert not Path(address.removeprefix("unix:")).parent.exists()


def test_interrupt_from_the_terminal_does_not_reach_the_server(make_faulty: MakePool) -> None:
    pool = make_faulty()
    pool.open()
    assert os.getsid(server_pid(pool)) == server_pid(pool) != os.getsid(0)


@pytest.mark.parametrize("address", ["unix:{0}/none.sock", "127.0.0.1:1"])
def test_address_where_nobody_answers_is_reported_with_what_to_check(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.setattr(member, "_FIRST_PATIENCE_S", 0.3)
    address = address.format(tmp_path)
    with pytest.raises(EnvUnreachable) as caught:
        make_pool(task="any", server={"address": address}).open()
    assert caught.value.message.startswith(f"no env server answers at {address}")
    assert "wmrun-envserver serve" in (caught.value.hint or "")
    assert caught.value.exit_code == 3


_LEARNER = """
import sys
from pathlib import Path
from wmrun.config.schema import EnvConfig
from wmrun.envs.pool import EnvPool

config = EnvConfig(backend=sys.argv[1], task="Faulty-v0")
with EnvPool(config, log_dir=Path(sys.argv[2]), seed=0, role="train") as pool:
    server = pool._members[0]._server
    print(server.pid, server.address, flush=True)
    sys.stdin.read()
"""
