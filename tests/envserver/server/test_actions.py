from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.validation import ActionCheck
from wmrun_envserver.wire import messages, spaces, tensors

from tests.envserver.server.client import Stepper
from tests.envserver.server.scripted import Script, ScriptedBackend, actions

N = 2
STEER = np.zeros((N, 2), np.float32)
GEAR = np.ones(N, np.int64)


def _with(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed[-1, ...] = value
    return changed


def _encoded(steer: np.ndarray, gear: np.ndarray) -> list[messages.Tensor]:
    return [tensors.encode(steer), tensors.encode(gear)]


def _changed(**fields: object) -> list[messages.Tensor]:
    steer, gear = _encoded(STEER, GEAR)
    for name, value in fields.items():
        if name == "shape":
            steer.shape[:] = value
        else:
            setattr(steer, name, value)
    return [steer, gear]


BAD = {
    "dtype": (_encoded(STEER.astype(np.float64), GEAR), "steer"),
    "shape": (_encoded(np.zeros((N, 3), np.float32), GEAR), "steer"),
    "extra dimension": (_encoded(STEER[..., None], GEAR), "steer"),
    "too few rows": (_encoded(STEER[:1], GEAR), "steer"),
    "too many rows": (_encoded(STEER, np.ones(N + 1, np.int64)), "gear"),
    "too few leaves": (_encoded(STEER, GEAR)[:1], "action"),
    "too many leaves": ([*_encoded(STEER, GEAR), tensors.encode(GEAR)], "action"),
    "nan": (_encoded(_with(STEER, np.nan), GEAR), "steer"),
    "infinite": (_encoded(_with(STEER, np.inf), GEAR), "steer"),
    "above the Box": (_encoded(_with(STEER, 1.5), GEAR), "steer"),
    "Discrete below start": (_encoded(STEER, _with(GEAR, 0)), "gear"),
    "Discrete above the last": (_encoded(STEER, _with(GEAR, 4)), "gear"),
    "short data": (_changed(data=STEER.tobytes()[:-1]), "steer"),
    "long data": (_changed(data=STEER.tobytes() + b"\0"), "steer"),
    "huge shape": (_changed(shape=[2**32 - 1] * 8), "steer"),
    "no dtype": (_changed(dtype=messages.DTYPE_UNSPECIFIED), "steer"),
    "encoding": (_changed(encoding=messages.ZLIB), "steer"),
}


@pytest.fixture
def served(connect):
    backend = ScriptedBackend()
    client = connect(backend)
    session = Stepper(client, num_envs=N)
    session.reset()
    return backend, client, session


@pytest.mark.parametrize("case", BAD)
def test_a_bad_action_is_refused_by_leaf_and_the_same_seq_works_afterwards(served, case):
    backend, client, session = served
    action, field = BAD[case]

    code, detail = client.refused("Step", session_id=session.id, seq=2, action=action)

    assert (code, detail.reason, detail.field) == ("INVALID_ARGUMENT", "BAD_ACTION", field)
    assert not any(env.actions for env in backend.made)
    assert session.step().step_in_episode == [1, 1]


def test_a_refusal_names_leaf_row_value_and_bounds(served):
    _, client, session = served
    action = _encoded(STEER, _with(GEAR, 9))
    _, detail = client.refused("Step", session_id=session.id, seq=2, action=action)
    assert 'leaf "gear", row 1: 9 is not in [1, 3]' in detail.message


def test_the_leaf_of_a_space_without_keys_is_called_action():
    check = ActionCheck(spaces.Discrete(3))
    with pytest.raises(Refused) as caught:
        check([tensors.encode(np.array([3]))], 1, [])
    assert (caught.value.reason, caught.value.field) == ("BAD_ACTION", "action")


def test_the_env_gets_the_action_it_was_sent(served):
    backend, client, session = served
    steer = np.array([[0.25, -1.0], [1.0, 0.5]], np.float32)
    gear = np.array([3, 2], np.int64)
    client.call("Step", session_id=session.id, seq=2, action=_encoded(steer, gear))
    for slot, env in enumerate(backend.made):
        (received,) = env.actions
        np.testing.assert_array_equal(received[0], steer[slot])
        assert (received[0].dtype, received[1].dtype) == (np.float32, np.int64)
        assert (received[1].shape, int(received[1])) == ((), gear[slot])


def test_the_ignored_action_of_an_ended_slot_needs_only_its_shape(connect):
    backend = ScriptedBackend(Script(length=1), Script())
    client = connect(backend)
    session = Stepper(client, num_envs=N)
    session.reset()
    assert session.step().terminated == [True, False]

    steer, gear = STEER.copy(), GEAR.copy()
    steer[0], gear[0] = np.nan, 77
    too_wide = _encoded(np.zeros((N, 3), np.float32), gear)
    code, detail = client.refused("Step", session_id=session.id, seq=3, action=too_wide)
    assert (code, detail.field) == ("INVALID_ARGUMENT", "steer")

    reply = client.call("Step", session_id=session.id, seq=3, action=_encoded(steer, gear))
    assert reply.rows.is_first == [True, False]


def test_the_slots_of_a_step_are_checked_like_those_of_a_reset(served):
    backend, client, session = served
    for slots in ([0, 5], [1, 1]):
        code, detail = client.refused(
            "Step", session_id=session.id, seq=2, slots=slots, action=actions(2)
        )
        assert (code, detail.field) == ("INVALID_ARGUMENT", "slots")
    assert not any(env.actions for env in backend.made)
