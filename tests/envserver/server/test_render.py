from __future__ import annotations

import threading

import numpy as np
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.rendering import shrunk
from wmrun_envserver.wire import messages, tensors

from tests.envserver.server.client import Stepper
from tests.envserver.server.scripted import Script, ScriptedBackend, actions
from tests.envserver.server.scripted_vector import ScriptedVectorBackend

DRAWS = {"render_modes": ("rgb_array",)}


def _drawing(client, **fields) -> Stepper:
    return Stepper(client, render_mode="rgb_array", want_capabilities=["render"], **fields)


def _frames(session: Stepper, **fields) -> list[np.ndarray]:
    reply = session.client.call("Render", session_id=session.id, **fields)
    return [tensors.decode(frame) for frame in reply.frames]


@pytest.mark.parametrize("backend", [ScriptedBackend, ScriptedVectorBackend])
def test_a_frame_per_slot_named_that_changes_nothing(connect, backend):
    session = _drawing(connect(backend(**DRAWS)), num_envs=2)
    assert session.opened.capabilities == ["render"]
    session.reset()
    for step in range(1, 4):
        for frame in _frames(session, slots=[1]) + _frames(session):
            assert (frame.shape, frame.dtype) == ((4, 8, 3), np.uint8)
        rows = session.step()
        assert list(rows.step_in_episode) == [step, step]
    reply = session.client.call("Render", session_id=session.id, slots=[1, 0])
    assert list(reply.slots) == [1, 0]


def test_frames_are_drawn_in_the_thread_of_the_simulator(connect):
    backend = ScriptedBackend(**DRAWS)
    session = _drawing(connect(backend))
    session.reset()
    _frames(session)
    assert len(backend.made[0].threads) == 1


def test_a_wide_frame_is_shrunk_to_the_mean_of_areas_and_keeps_its_aspect():
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, 4:] = 200
    assert shrunk(frame, 2).tolist() == [[[0] * 3, [200] * 3]]
    assert shrunk(frame, 4).shape == (2, 4, 3)
    assert shrunk(frame, 3)[0, :, 0].tolist() == [0, 67, 200]
    assert shrunk(frame, 8) is frame
    assert shrunk(frame, 0) is frame
    assert shrunk(np.full((1, 999, 3), 7, np.uint8), 1).tolist() == [[[7, 7, 7]]]


def test_max_width_is_kept_over_the_wire(connect):
    session = _drawing(connect(ScriptedBackend(**DRAWS)))
    session.reset()
    assert [frame.shape for frame in _frames(session, max_width=4)] == [(2, 4, 3)]


def test_a_render_mode_that_the_env_lacks_is_refused_at_the_opening(connect):
    client = connect(ScriptedBackend(**DRAWS))
    code, detail = client.open_refused(render_mode="human")
    assert (code, detail.reason, detail.field) == (
        "INVALID_ARGUMENT",
        "BAD_REQUEST",
        "render_mode",
    )
    assert "offers: rgb_array" in detail.message


def test_a_session_without_a_render_mode_draws_nothing(connect):
    session = Stepper(connect(ScriptedBackend(**DRAWS)), want_capabilities=["render"])
    session.reset()
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.field) == ("INVALID_ARGUMENT", "render_mode")


def test_a_session_without_the_capability_draws_nothing(connect):
    session = Stepper(connect(ScriptedBackend(**DRAWS)), render_mode="rgb_array")
    session.reset()
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
    assert detail.field == "want_capabilities"


def test_the_capability_is_not_granted_where_nothing_can_be_drawn(connect):
    session = Stepper(connect(ScriptedBackend()), want_capabilities=["render"])
    assert session.opened.capabilities == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"slots": [2]}, "slots"), ({"slots": [0] * 3}, "slots"), ({"encoding": 2}, "encoding")],
)
def test_a_wrong_render_is_refused(connect, fields, field):
    session = _drawing(connect(ScriptedBackend(**DRAWS)), num_envs=2)
    session.reset()
    code, detail = session.client.refused("Render", session_id=session.id, **fields)
    assert (code, detail.field) == ("INVALID_ARGUMENT", field)


def test_a_slot_that_is_in_no_episode_has_no_frame(connect):
    session = _drawing(connect(ScriptedBackend(**DRAWS)), num_envs=2)
    session.reset(slots=[0])
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.reason, list(detail.slots)) == ("FAILED_PRECONDITION", "NOT_RESET", [1])


def test_a_render_during_a_call_is_busy(connect):
    gate = threading.Event()
    backend = ScriptedBackend(Script(gate=gate), **DRAWS)
    session = _drawing(connect(backend))
    session.reset()
    running = session.client.start("Step", session_id=session.id, seq=2, action=actions(1))
    assert backend.made[0].entered.wait(10)
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.reason, detail.retryable) == ("ABORTED", "BUSY", True)
    gate.set()
    running.result()
    assert len(_frames(session)) == 1


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((4, 8, 3), np.float32), "drew float32[4, 8, 3]"),
        (np.zeros((4, 8), np.uint8), "drew uint8[4, 8]"),
        (np.zeros((0, 8, 3), np.uint8), "drew uint8[0, 8, 3]"),
    ],
)
def test_a_frame_that_is_none_is_refused(connect, frame, words):
    session = _drawing(connect(ScriptedBackend(Script(frame=frame), **DRAWS)))
    session.reset()
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_CONTRACT")
    assert words in detail.message
    assert session.step().step_in_episode == [1]


def test_frames_over_the_limit_are_refused(connect):
    script = Script(frame=np.zeros((64, 64, 3), np.uint8))
    client = connect(ScriptedBackend(script, **DRAWS), Limits(max_message_bytes=20_000))
    session = _drawing(client, num_envs=2)
    session.reset()
    code, detail = client.refused("Render", session_id=session.id)
    assert (code, detail.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert len(_frames(session, slots=[0])) == 1


def test_the_listing_names_the_render_modes(connect):
    (env,) = connect(ScriptedBackend(**DRAWS)).call("GetServerInfo").envs
    assert list(env.render_modes) == ["rgb_array"]
    assert messages.EnvInfo.FromString(env.SerializeToString()).available
