from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.wire import messages, tensors

from tests.envserver.server.client import Stepper, vectors
from tests.envserver.server.scripted import Script, ScriptedBackend, actions
from tests.envserver.server.scripted_vector import ScriptedVectorBackend, VectorScript


def _columns(rows: messages.Rows) -> dict[str, list]:
    names = ("slot", "reward", "terminated", "truncated", "is_first", "episode", "step_in_episode")
    return {name: list(getattr(rows, name)) for name in names}


def test_reset_returns_a_first_row_per_slot(connect):
    session = Stepper(connect(), num_envs=3)
    rows = session.reset()
    assert _columns(rows) == {
        "slot": [0, 1, 2],
        "reward": [0.0] * 3,
        "terminated": [False] * 3,
        "truncated": [False] * 3,
        "is_first": [True] * 3,
        "episode": [0] * 3,
        "step_in_episode": [0] * 3,
    }
    assert [list(leaf.shape) for leaf in rows.obs] == [[3, 3], [3, 2, 2, 1]]
    assert list(rows.status) == [messages.SLOT_OK] * 3
    assert not rows.errors


@pytest.mark.parametrize("truncated", [False, True])
def test_the_last_row_holds_the_final_observation_and_the_next_step_resets(connect, truncated):
    backend = ScriptedBackend(Script(length=2, truncated=truncated))
    session = Stepper(connect(backend))
    session.reset()
    session.step()

    last = session.step(gear=3)
    assert vectors(last).tolist() == [[2, 3, -1]]
    assert (list(last.terminated), list(last.truncated)) == ([not truncated], [truncated])
    assert (list(last.reward), list(last.is_first), list(last.episode)) == ([2.0], [False], [0])

    first = session.step(gear=2)
    assert vectors(first).tolist() == [[0, 0, -1]]
    assert _columns(first) == {
        "slot": [0],
        "reward": [0.0],
        "terminated": [False],
        "truncated": [False],
        "is_first": [True],
        "episode": [1],
        "step_in_episode": [0],
    }
    assert len(backend.made[0].actions) == 2


def test_slots_end_at_their_own_steps(connect):
    session = Stepper(connect(ScriptedBackend(Script(length=1), Script(length=3))), num_envs=2)
    session.reset()
    history = [_columns(session.step()) for _ in range(5)]
    assert [row["terminated"] for row in history] == [
        [True, False],
        [False, False],
        [True, True],
        [False, False],
        [True, False],
    ]
    assert [row["is_first"] for row in history] == [
        [False, False],
        [True, False],
        [False, False],
        [True, True],
        [False, False],
    ]
    assert [row["step_in_episode"] for row in history] == [[1, 1], [0, 2], [1, 3], [0, 0], [1, 1]]
    assert [row["episode"] for row in history] == [[0, 0], [1, 0], [1, 0], [2, 1], [2, 1]]


def test_an_explicit_reset_clears_the_pending_autoreset(connect):
    backend = ScriptedBackend(Script(length=1))
    session = Stepper(connect(backend))
    session.reset()
    session.step()
    assert session.reset().episode == [1]
    assert session.step().step_in_episode == [1]
    assert backend.made[0].seeds == [None, None]


def test_a_reset_of_some_slots_leaves_the_others_alone(connect):
    session = Stepper(connect(ScriptedBackend()), num_envs=3)
    session.reset()
    session.step()

    rows = session.reset(slots=[2, 0], seeds=[22, 20])
    assert _columns(rows)["slot"] == [2, 0]
    assert vectors(rows)[:, 2].tolist() == [22, 20]
    assert _columns(rows)["episode"] == [1, 1]

    rows = session.step()
    assert _columns(rows)["episode"] == [1, 0, 1]
    assert _columns(rows)["step_in_episode"] == [1, 2, 1]
    assert vectors(rows)[:, 2].tolist() == [20, -1, 22]


def test_rows_follow_the_order_of_the_slots_asked_for(connect):
    client = connect()
    session = Stepper(client, num_envs=3)
    session.reset()
    gears = np.array([3, 1, 2], np.int64)
    action = [tensors.encode(np.zeros((3, 2), np.float32)), tensors.encode(gears)]
    reply = client.call("Step", session_id=session.id, seq=2, slots=[2, 0, 1], action=action)
    assert list(reply.rows.slot) == [2, 0, 1]
    assert vectors(reply.rows)[:, 1].tolist() == [3, 1, 2]


def test_seeds_of_the_opening_are_for_the_first_resets_alone(connect):
    backend = ScriptedBackend()
    session = Stepper(connect(backend), num_envs=2, seeds=[7, 8])
    session.reset(slots=[1])
    session.reset(slots=[0], seeds=[99])
    session.reset()
    assert [env.seeds for env in backend.made] == [[99, None], [8, None]]
    assert session.opened.seed_scope == messages.SEED_PER_RESET


def test_a_step_without_every_slot_is_refused(connect):
    client = connect()
    session = Stepper(client, num_envs=3)
    session.reset()
    code, detail = client.refused(
        "Step", session_id=session.id, seq=2, slots=[0, 2], action=actions(2)
    )
    assert (code, detail.field, list(detail.slots)) == ("INVALID_ARGUMENT", "slots", [1])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"slots": [3]}, "slots"),
        ({"slots": [1, 1]}, "slots"),
        ({"seeds": [1, 2]}, "seeds"),
        ({"slots": [0, 1], "seeds": [1]}, "seeds"),
        ({"options_json": '{"level": 2}'}, "options_json"),
    ],
)
def test_a_wrong_reset_is_refused_before_any_env_is_touched(connect, fields, field):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client, num_envs=3)
    code, detail = client.refused("Reset", session_id=session.id, seq=1, **fields)
    assert (code, detail.reason, detail.field) == ("INVALID_ARGUMENT", "BAD_REQUEST", field)
    assert [env.seeds for env in backend.made] == [[], [], []]
    assert session.reset().episode == [0, 0, 0]


def test_empty_reset_options_are_no_options(connect):
    session = Stepper(connect())
    reply = session.client.call("Reset", session_id=session.id, seq=1, options_json="{}")
    assert reply.rows.is_first == [True]


def test_info_is_sparse_typed_columns(connect):
    scripts = [
        Script(info={1: {"score": 1.5, "lives": 3, "won": True, "mode": "easy"}}),
        Script(),
        Script(info={1: {"score": 2, "lives": np.int8(2)}}),
    ]
    session = Stepper(connect(ScriptedBackend(*scripts)), num_envs=3)
    session.reset()
    columns = {column.key: column for column in session.step().info}

    assert {key: list(column.rows) for key, column in columns.items()} == {
        "score": [0, 2],
        "lives": [0, 2],
        "won": [0],
        "mode": [0],
    }
    values = {key: tensors.decode(column.values) for key, column in columns.items()}
    assert {key: value.tolist() for key, value in values.items()} == {
        "score": [1.5, 2.0],
        "lives": [3, 2],
        "won": [True],
        "mode": ["easy"],
    }
    dtypes = {key: column.values.dtype for key, column in columns.items()}
    assert dtypes == {
        "score": messages.FLOAT64,
        "lives": messages.INT64,
        "won": messages.BOOL,
        "mode": messages.UTF8,
    }
    assert not session.step().info


def test_two_sessions_do_not_touch_each_other(connect):
    backend = ScriptedBackend(Script(length=2), Script(length=3))
    client = connect(backend)
    one, two = Stepper(client), Stepper(client)
    one.reset(seeds=[1])
    two.reset(seeds=[2])
    history = [(one.step(), two.step()) for _ in range(3)]
    assert [list(rows.is_first) for rows, _ in history] == [[False], [False], [True]]
    assert [list(rows.terminated) for _, rows in history] == [[False], [False], [True]]
    assert [vectors(rows)[0, 2] for rows in history[2]] == [1, 2]
    client.call("CloseSession", session_id=one.id)
    assert two.step().is_first == [True]


def _both(length: int) -> list:
    """A backend of one-slot simulators and one of a shared simulator; slot 1 never ends."""
    return [
        pytest.param(lambda: ScriptedBackend(Script(length=length), Script()), id="env"),
        pytest.param(
            lambda: ScriptedVectorBackend(VectorScript(lengths=(length, 100))), id="vector"
        ),
    ]


@pytest.mark.parametrize("backend", _both(2))
def test_next_step_begins_the_next_episode_in_the_step_after_the_last(connect, backend):
    session = Stepper(connect(backend()), num_envs=2)
    session.reset()
    history = [_columns(session.step()) for _ in range(4)]
    assert [row["slot"] for row in history] == [[0, 1]] * 4
    assert [row["terminated"][0] for row in history] == [False, True, False, False]
    assert [row["is_first"][0] for row in history] == [False, False, True, False]
    assert [row["step_in_episode"] for row in history] == [[1, 1], [2, 2], [0, 3], [1, 4]]
    assert [row["episode"] for row in history] == [[0, 0], [0, 0], [1, 0], [1, 0]]
    assert [row["reward"] for row in history] == [[1, 1], [2, 2], [0, 3], [1, 4]]


@pytest.mark.parametrize("backend", _both(2))
def test_same_step_returns_the_last_row_and_then_the_first_of_the_next_episode(connect, backend):
    session = Stepper(connect(backend()), num_envs=2, autoreset=messages.SAME_STEP)
    assert session.opened.autoreset == messages.SAME_STEP
    session.reset()
    session.step()
    rows = session.step(gear=3)
    assert _columns(rows) == {
        "slot": [0, 0, 1],
        "reward": [2.0, 0.0, 2.0],
        "terminated": [True, False, False],
        "truncated": [False] * 3,
        "is_first": [False, True, False],
        "episode": [0, 1, 0],
        "step_in_episode": [2, 0, 2],
    }
    assert vectors(rows).tolist() == [[2, 3, -1], [0, 0, -1], [2, 3, -1]]
    assert session.step().step_in_episode == [1, 3]


@pytest.mark.parametrize("backend", _both(2))
def test_disabled_refuses_finished_slots_until_they_are_reset(connect, backend):
    session = Stepper(connect(backend()), num_envs=2, autoreset=messages.DISABLED)
    session.reset()
    session.step()
    assert session.step().terminated == [True, False]
    code, detail = session.refused("Step", action=actions(2))
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "NOT_RESET")
    assert (detail.field, list(detail.slots)) == ("slots", [0])
    _, detail = session.refused("Step", slots=[1], action=actions(1))
    assert (detail.reason, list(detail.slots)) == ("BAD_REQUEST", [0])

    rows = session.reset(slots=[0])
    assert (_columns(rows)["slot"], _columns(rows)["episode"]) == ([0], [1])
    rows = session.step()
    assert _columns(rows)["step_in_episode"] == [1, 3]
    assert _columns(rows)["episode"] == [1, 0]


@pytest.mark.parametrize("mode", [messages.NEXT_STEP, messages.DISABLED])
@pytest.mark.parametrize("backend", _both(1))
def test_after_an_explicit_reset_the_next_action_is_applied(connect, backend, mode):
    session = Stepper(connect(backend()), num_envs=2, autoreset=mode)
    session.reset()
    session.step()
    session.reset(slots=[0])
    rows = session.step(gear=3)
    assert vectors(rows)[0].tolist() == [1, 3, -1]
    assert _columns(rows)["episode"] == [1, 0]


def test_an_ended_slot_ignores_whatever_its_action_is(connect):
    session = Stepper(connect(ScriptedVectorBackend(VectorScript(lengths=(1, 9)))), num_envs=2)
    session.reset()
    session.step()
    steer = np.array([[np.nan, 9], [0, 0]], np.float32)
    action = [tensors.encode(steer), tensors.encode(np.array([77, 1]))]
    reply = session.client.call("Step", session_id=session.id, seq=3, action=action)
    assert list(reply.rows.is_first) == [True, False]
