"""The fault env fails as it is asked to, and steps normally otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, StepResult, UnknownEnvError
from wmrun_envserver.backends.fault import FaultBackend, FaultError
from wmrun_envserver.wire import spaces

BACKEND = FaultBackend()


def made(**options: Any) -> Env:
    BACKEND.prepare("fault", options)
    return BACKEND.make("fault", options)


def step(env: Env, action: int = 0) -> StepResult:
    return env.step([np.array(action)])


def fits(env: Env, result: StepResult) -> bool:
    (leaf,) = spaces.leaves(FaultBackend().make("fault", {}).observation_space)
    try:
        spaces.check(leaf, result.obs[0][None])
    except spaces.SpaceError:
        return False
    return bool(np.isfinite(result.reward))


def test_without_a_fault_it_counts_steps_until_the_episode_terminates() -> None:
    env = made(length=2)
    rows = [env.reset(None), step(env, 1), step(env, 1), env.reset(None), step(env)]
    assert [row.obs[0].tolist() for row in rows] == [[0, 0], [1, 1], [2, 2], [0, 2], [1, 3]]
    assert [row.terminated for row in rows] == [False, False, True, False, False]
    assert all(fits(env, row) for row in rows)


def test_it_fails_at_the_steps_named_and_at_no_other() -> None:
    env = made(fault="nan_reward", at=2, times=2, length=3)
    env.reset(None)
    assert [fits(env, step(env)) for _ in range(3)] == [True, False, False]
    env.reset(None)
    assert fits(env, step(env))
    assert BACKEND.prepare("fault", {}).isolate


def test_times_zero_goes_on_for_ever_and_actions_ask_for_a_fault() -> None:
    forever = made(fault="wrong_shape", at=3, times=0)
    forever.reset(None)
    assert [fits(forever, step(forever)) for _ in range(5)] == [True, True, False, False, False]
    asked = made(fault="wrong_dtype", on_action=True)
    asked.reset(None)
    assert [fits(asked, step(asked, action)) for action in (0, 1, 0)] == [True, False, True]


@pytest.mark.parametrize(
    "fault", ["nan_reward", "nan_obs", "wrong_shape", "wrong_dtype", "change_spaces"]
)
def test_what_it_returns_breaks_its_spaces(fault: str) -> None:
    env = made(fault=fault, at=1)
    env.reset(None)
    assert not fits(env, step(env))


def test_it_raises_in_a_step_or_a_reset() -> None:
    env = made(fault="raise", at=1)
    env.reset(None)
    with pytest.raises(FaultError, match="raised at step 1"):
        step(env)
    late = made(fault="raise_reset", at=2)
    late.reset(None)
    with pytest.raises(FaultError, match="raised at reset 2"):
        late.reset(None)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"fault": "exit", "exit_code": 9}, 9),
        ({"fault": "kill"}, -signal.SIGKILL),
        ({"fault": "kill", "signal": "SIGABRT"}, -signal.SIGABRT),
    ],
)
def test_it_ends_its_process(options: dict[str, Any], status: int) -> None:
    program = (
        "import numpy; from wmrun_envserver.backends.fault import FaultBackend\n"
        f"env = FaultBackend().make('fault', {options | {'at': 1}!r})\n"
        "env.reset(None); env.step([numpy.array(0)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == status


def test_a_leak_keeps_the_memory_of_every_step() -> None:
    env = made(fault="leak", at=1, times=0, leak_mb=2)
    env.reset(None)
    for _ in range(3):
        assert fits(env, step(env))
    assert [array.nbytes for array in env._leaked] == [2 * 2**20] * 3  # type: ignore[attr-defined]


def test_other_env_ids_and_options_are_refused() -> None:
    with pytest.raises(UnknownEnvError, match="Did you mean fault"):
        BACKEND.prepare("faults", {})
    with pytest.raises(ConfigError, match="option 'fault' must be one of none, raise"):
        BACKEND.prepare("fault", {"fault": "explode"})
