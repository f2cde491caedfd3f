from __future__ import annotations

import logging

import numpy as np
import pytest
from wmrun_envserver.backends.base import StepResult
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire import messages, tensors

from tests.envserver.server.client import Stepper, vectors
from tests.envserver.server.scripted import Script, ScriptedBackend, actions

BOOM = RuntimeError("the joint exploded in /opt/simulator/joints/knee.xml")


def test_an_env_that_raises_is_rebuilt_and_only_its_slot_starts_again(connect, caplog):
    backend = ScriptedBackend(Script(step_error=BOOM, error_at=2), Script())
    session = Stepper(connect(backend), num_envs=2)
    session.reset()
    session.step()

    rows = session.step()

    assert list(rows.status) == [messages.SLOT_RESTARTED, messages.SLOT_OK]
    assert list(rows.is_first) == [True, False]
    assert list(rows.reward) == [0.0, 2.0]
    assert (list(rows.terminated), list(rows.truncated)) == ([False] * 2, [False] * 2)
    assert list(rows.episode) == [1, 0]
    assert list(rows.step_in_episode) == [0, 2]
    assert vectors(rows)[:, 0].tolist() == [0, 2]
    assert [(error.slot, error.reason) for error in rows.errors] == [(0, "ENV_FAILED")]
    assert backend.made[0].closed.is_set()
    assert session.step().step_in_episode == [1, 3]


@pytest.mark.parametrize("capabilities", [[], ["partial_batch"]])
@pytest.mark.parametrize("mode", [messages.NEXT_STEP, messages.SAME_STEP, messages.DISABLED])
def test_a_restarted_slot_needs_no_reset_in_any_mode(connect, caplog, mode, capabilities):
    session = Stepper(
        connect(ScriptedBackend(Script(step_error=BOOM), Script())),
        autoreset=mode,
        want_capabilities=capabilities,
    )
    session.reset()
    assert session.step().status == [messages.SLOT_RESTARTED]
    rows = session.step()
    assert (list(rows.status), list(rows.step_in_episode)) == ([messages.SLOT_OK], [1])


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyboardInterrupt(), "KeyboardInterrupt"), (Unspeakable(), "Unspeakable")],
)
def test_whatever_an_env_raises_costs_its_own_slot_alone(connect, error, said):
    session = Stepper(connect(ScriptedBackend(Script(step_error=error), Script())), num_envs=2)
    session.reset()
    rows = session.step()
    assert list(rows.status) == [messages.SLOT_RESTARTED, messages.SLOT_OK]
    assert [failure.message for failure in rows.errors] == [said]


def test_the_client_gets_words_and_the_log_the_traceback(connect, caplog):
    session = Stepper(connect(ScriptedBackend(Script(step_error=BOOM), Script())))
    session.reset()
    with caplog.at_level(logging.ERROR):
        (error,) = session.step().errors
    assert error.message == "RuntimeError: the joint exploded in knee.xml"
    assert "Traceback" in caplog.text
    assert "/opt/simulator/joints/knee.xml" in caplog.text


def test_debug_sends_the_traceback_to_the_client(connect):
    session = Stepper(connect(ScriptedBackend(Script(step_error=BOOM), Script()), debug=True))
    session.reset()
    (error,) = session.step().errors
    assert "Traceback" in error.message
    assert "/opt/simulator/joints/knee.xml" in error.message


def test_a_slot_that_fails_too_often_is_given_up_and_the_others_go_on(connect):
    always = Script(step_error=SystemExit(3))
    backend = ScriptedBackend(always, Script(), *[always] * 9)
    session = Stepper(connect(backend, Limits(max_restarts=3, restart_pause_s=0)), num_envs=2)
    session.reset()
    history = [session.step() for _ in range(6)]

    restarted, failed = messages.SLOT_RESTARTED, messages.SLOT_FAILED
    assert [rows.status[0] for rows in history] == [restarted] * 3 + [failed] * 3
    for rows in history[3:]:
        assert (rows.is_first[0], rows.reward[0], rows.terminated[0]) == (False, 0.0, False)
        assert vectors(rows)[0].tolist() == [0, 0, 0]
        assert rows.errors[0].message == "SystemExit: 3"
    assert [rows.step_in_episode[1] for rows in history] == [1, 2, 3, 4, 5, 6]
    assert len(backend.made) == 2 + 3
    assert all(env.closed.is_set() for env in backend.made if env is not backend.made[1])


def test_a_slot_given_up_is_still_named_and_what_its_action_says_is_ignored(connect, caplog):
    backend = ScriptedBackend(Script(step_error=BOOM), Script())
    session = Stepper(connect(backend, Limits(max_restarts=0)), num_envs=2)
    session.reset()
    failed, ok = messages.SLOT_FAILED, messages.SLOT_OK
    assert list(session.step().status) == [failed, ok]
    assert session.refused("Step", slots=[1], action=actions(1))[1].slots == [0]

    steer, gear = np.array([[np.nan, 9], [0, 0]], np.float32), np.array([77, 1])
    wide = [tensors.encode(np.zeros((2, 3), np.float32)), tensors.encode(gear)]
    assert session.refused("Step", action=wide)[1].reason == "BAD_ACTION"
    action = [tensors.encode(steer), tensors.encode(gear)]
    rows = session.client.call("Step", session_id=session.id, seq=3, action=action).rows
    assert list(rows.status) == [failed, ok]


def test_failures_outside_the_window_do_not_count(connect, clock):
    backend = ScriptedBackend(Script(step_error=BOOM))
    limits = Limits(max_restarts=1, restart_window_s=100)
    session = Stepper(connect(backend, limits), lease_ms=3_600_000)
    session.reset()
    for _ in range(4):
        assert session.step().status == [messages.SLOT_RESTARTED]
        clock.advance(100)
    assert session.step().status == [messages.SLOT_RESTARTED]
    assert session.step().status == [messages.SLOT_FAILED]


def test_a_reset_revives_a_failed_slot_once_its_window_has_passed(connect, clock):
    backend = ScriptedBackend(Script(step_error=BOOM), Script())
    limits = Limits(max_restarts=0, restart_window_s=100)
    session = Stepper(connect(backend, limits), lease_ms=3_600_000)
    session.reset()
    assert session.step().status == [messages.SLOT_FAILED]
    assert session.reset().status == [messages.SLOT_FAILED]
    clock.advance(100)
    rows = session.reset(seeds=[5])
    assert (list(rows.status), list(rows.is_first)) == ([messages.SLOT_RESTARTED], [True])
    assert vectors(rows)[0, 2] == 5
    assert session.step().status == [messages.SLOT_OK]


def test_a_failure_while_rebuilding_counts_too(connect):
    backend = ScriptedBackend(Script(step_error=BOOM), OSError("no licence"), Script())
    session = Stepper(connect(backend))
    session.reset()
    rows = session.step()
    # The failing build made no env, so every later build fails as well.
    assert rows.status == [messages.SLOT_FAILED]
    assert rows.errors[0].message == "OSError: no licence"
    assert len(backend.made) == 1


def test_an_env_that_raises_in_its_first_reset_is_given_up_not_refused(connect):
    session = Stepper(connect(ScriptedBackend(Script(reset_error=BOOM))))
    assert session.reset().status == [messages.SLOT_FAILED]
    assert session.step().status == [messages.SLOT_FAILED]


def test_a_restart_is_seeded_from_the_last_seed_and_not_with_it(connect):
    def seeds_after_restart() -> list[int | None]:
        backend = ScriptedBackend(Script(step_error=BOOM), Script())
        client = connect(backend)
        session = Stepper(client, seeds=[11])
        session.reset()
        session.step()
        return backend.made[1].seeds

    (first,), (second,) = seeds_after_restart(), seeds_after_restart()
    assert first == second
    assert first not in (None, 11)


def test_an_unseeded_slot_is_restarted_without_a_seed(connect):
    backend = ScriptedBackend(Script(step_error=BOOM), Script())
    session = Stepper(connect(backend))
    session.reset()
    session.step()
    assert backend.made[1].seeds == [None]


VECTOR, IMAGE = np.zeros(3, np.float32), np.zeros((2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (StepResult([VECTOR]), "a list of 2 arrays"),
        (
            StepResult([VECTOR.astype(np.float64), IMAGE]),
            "'vector' must be float32[3], got float64",
        ),
        (StepResult([VECTOR, IMAGE[..., 0]]), "'image' must be uint8[2, 2, 1], got uint8[2, 2]"),
        (StepResult([VECTOR, IMAGE], reward=float("nan")), "the reward is nan"),
        (StepResult([VECTOR, IMAGE], info={"path": [1, 2]}), "info 'path' is a list"),
    ],
)
def test_an_env_that_breaks_its_contract_is_restarted_and_told_why(connect, result, words):
    session = Stepper(connect(ScriptedBackend(Script(results={1: result}), Script())))
    session.reset()
    rows = session.step()
    assert (list(rows.status), list(rows.is_first)) == ([messages.SLOT_RESTARTED], [True])
    assert list(rows.slot) == [0]
    assert words in rows.errors[0].message
    assert rows.errors[0].reason == "ENV_CONTRACT"
    assert session.step().step_in_episode == [1]
