from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire import messages, tensors

from tests.envserver.server.client import Stepper, vectors
from tests.envserver.server.scripted_vector import ScriptedVectorBackend, VectorScript

BOOM = RuntimeError("the scene in /opt/scenes/hall.unity fell apart")


def test_all_slots_of_a_session_share_a_simulator_by_default(connect):
    backend = ScriptedVectorBackend()
    session = Stepper(connect(backend), num_envs=3)
    session.reset()
    session.step()
    assert [env.calls for env in backend.made] == [[([], [0, 1, 2], None), ([0, 1, 2], [], None)]]


def test_simulators_hold_as_many_slots_as_they_say_and_know_them_from_0(connect):
    backend = ScriptedVectorBackend(
        VectorScript(lengths=(100, 1)), VectorScript(reverse=True), slots_per_simulator=2
    )
    session = Stepper(connect(backend), num_envs=4)
    session.reset(seeds=[5, 6, 7, 8])
    rows = session.step(gear=2)
    assert list(rows.slot) == [0, 1, 2, 3]
    assert vectors(rows).tolist() == [[1, 2, 5], [1, 2, 6], [1, 2, 7], [1, 2, 8]]
    rows = session.step()
    assert list(rows.is_first) == [False, True, False, False]
    assert [env.calls[-1][:2] for env in backend.made] == [([0], [1]), ([0, 1], [])]


def test_slots_that_do_not_fill_simulators_are_refused(connect):
    client = connect(ScriptedVectorBackend(slots_per_simulator=2))
    code, detail = client.open_refused(num_envs=3)
    assert (code, detail.reason, detail.field) == ("INVALID_ARGUMENT", "BAD_REQUEST", "num_envs")
    assert "multiple of 2" in detail.message


def test_rows_follow_the_order_asked_for_with_their_infos(connect):
    session = Stepper(connect(ScriptedVectorBackend(VectorScript(reverse=True))), num_envs=3)
    session.reset()
    session.step()
    session.reset(slots=[1])
    action = [
        tensors.encode(np.zeros((3, 2), np.float32)),
        tensors.encode(np.array([1, 2, 3])),
    ]
    request = {"session_id": session.id, "seq": 4, "slots": [1, 2, 0], "action": action}
    rows = session.client.call("Step", **request).rows
    assert list(rows.slot) == [1, 2, 0]
    assert vectors(rows).tolist() == [[1, 1, -1], [2, 2, -1], [2, 3, -1]]
    (column,) = rows.info
    by_slot = {
        rows.slot[row]: value
        for row, value in zip(column.rows, tensors.decode(column.values), strict=True)
    }
    assert by_slot == {0: 2, 1: 1, 2: 2}


def test_seeds_of_the_session_go_to_the_simulator_and_a_reset_takes_none(connect):
    backend = ScriptedVectorBackend(seed_scope="session")
    session = Stepper(connect(backend), num_envs=2, seeds=[3, 4])
    assert session.opened.seed_scope == messages.SEED_PER_SESSION
    assert vectors(session.reset())[:, 2].tolist() == [3, 4]
    assert backend.made[0].calls == [([], [0, 1], None)]
    code, detail = session.refused("Reset", seeds=[1, 2])
    assert (code, detail.reason, detail.field) == ("FAILED_PRECONDITION", "SEED_SCOPE", "seeds")
    assert session.reset().episode == [1, 1]


def test_a_simulator_without_seeds_takes_none_anywhere(connect):
    backend = ScriptedVectorBackend(seed_scope="none")
    client = connect(backend)
    code, detail = client.open_refused(seeds=[1])
    assert (code, detail.reason, detail.field) == ("FAILED_PRECONDITION", "SEED_SCOPE", "seeds")
    session = Stepper(client)
    assert session.opened.seed_scope == messages.SEED_NONE
    assert session.refused("Reset", seeds=[1])[1].reason == "SEED_SCOPE"
    assert not backend.made[0].calls


def test_seeds_of_some_slots_do_not_reseed_the_others(connect):
    backend = ScriptedVectorBackend()
    session = Stepper(connect(backend), num_envs=2, seeds=[3, 4])
    session.reset(slots=[1])
    rows = session.reset()
    assert list(rows.slot) == [0, 1]
    assert vectors(rows)[:, 2].tolist() == [3, 4]
    assert [call[1:] for call in backend.made[0].calls] == [([1], [4]), ([0], [3]), ([1], None)]


def test_a_failure_half_way_through_a_reset_leaves_one_row_per_slot(connect, caplog):
    backend = ScriptedVectorBackend(VectorScript(step_error=BOOM, error_at=3), VectorScript())
    session = Stepper(connect(backend), num_envs=2, seeds=[3, 4])
    session.reset(slots=[1])
    rows = session.reset()
    assert (list(rows.slot), list(rows.episode)) == ([0, 1], [0, 1])
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 2


def test_a_failure_costs_every_slot_of_the_simulator_an_episode_and_no_other(connect, caplog):
    backend = ScriptedVectorBackend(
        VectorScript(step_error=BOOM, error_at=3), VectorScript(), slots_per_simulator=2
    )
    session = Stepper(connect(backend), num_envs=4)
    session.reset()
    session.step()
    rows = session.step()
    restarted, ok = messages.SLOT_RESTARTED, messages.SLOT_OK
    assert list(rows.status) == [restarted, restarted, ok, ok]
    assert list(rows.is_first) == [True, True, False, False]
    assert list(rows.episode) == [1, 1, 0, 0]
    assert list(rows.step_in_episode) == [0, 0, 2, 2]
    assert {error.slot: error.message for error in rows.errors} == dict.fromkeys(
        [0, 1], "RuntimeError: the scene in hall.unity fell apart"
    )
    assert backend.made[0].is_closed
    assert session.step().step_in_episode == [1, 1, 3, 3]


def test_slots_that_were_not_named_learn_of_their_restart_in_the_next_step(connect, caplog):
    backend = ScriptedVectorBackend(VectorScript(step_error=BOOM, error_at=3), VectorScript())
    session = Stepper(connect(backend), num_envs=3)
    session.reset()
    session.step()
    rows = session.reset(slots=[1])
    assert (list(rows.slot), list(rows.status)) == ([1], [messages.SLOT_RESTARTED])
    rows = session.step()
    restarted = messages.SLOT_RESTARTED
    assert list(rows.status) == [restarted, messages.SLOT_OK, restarted]
    assert list(rows.is_first) == [True, False, True]
    assert list(rows.episode) == [1, 1, 1]
    assert sorted(error.slot for error in rows.errors) == [0, 2]


def test_a_restart_is_seeded_for_every_slot_of_its_own(connect, caplog):
    backend = ScriptedVectorBackend(
        VectorScript(step_error=BOOM, error_at=2), VectorScript(), seed_scope="session"
    )
    session = Stepper(connect(backend), num_envs=2, seeds=[3, 4])
    session.reset()
    first, second = vectors(session.step())[:, 2].tolist()
    assert len({first, second, 3, 4}) == 4


def test_a_simulator_that_fails_too_often_gives_up_all_its_slots(connect, caplog):
    always = VectorScript(step_error=BOOM, error_at=2)
    backend = ScriptedVectorBackend(always, VectorScript(), always, slots_per_simulator=2)
    session = Stepper(connect(backend, Limits(max_restarts=1, restart_pause_s=0)), num_envs=4)
    session.reset()
    statuses = [list(session.step().status) for _ in range(3)]
    restarted, failed, ok = messages.SLOT_RESTARTED, messages.SLOT_FAILED, messages.SLOT_OK
    assert statuses == [[restarted] * 2 + [ok] * 2] + [[failed] * 2 + [ok] * 2] * 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: b._replace(obs=b.obs[:1]), "a list of 2 arrays"),
        (lambda b: b._replace(obs=[b.obs[0][:1], b.obs[1]]), "'vector' must be float32[2, 3]"),
        (lambda b: b._replace(obs=[b.obs[0].astype(np.float64), b.obs[1]]), "got float64[2, 3]"),
        (lambda b: b._replace(reward=b.reward * np.nan), "the reward is nan"),
        (lambda b: b._replace(reward=b.reward[:1]), "reward must be float64[2]"),
        (lambda b: b._replace(truncated=b.reward), "truncated must be bool[2], got float64[2]"),
        (lambda b: b._replace(info={"path": ([0], [[1, 2]])}), "info 'path' is a list"),
        (lambda b: b._replace(info={"step": ([0, 7], [1, 2])}), "for the rows [0, 7] of 2"),
        (lambda b: b._replace(slots=np.array([0, 0])), "several rows of slot 0"),
        (lambda b: b._replace(slots=np.array([0, 5])), "rows of [0, 5]"),
        (lambda b: b._replace(is_first=~b.is_first), "not so for the slots [0, 1]"),
        (lambda _: None, "got a NoneType"),
    ],
)
def test_a_batch_that_breaks_the_contract_is_told_why(connect, caplog, spoil, words):
    backend = ScriptedVectorBackend(VectorScript(spoil={2: spoil}), VectorScript())
    session = Stepper(connect(backend), num_envs=2)
    session.reset()
    rows = session.step()
    assert list(rows.slot) == [0, 1]
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 2
    assert {error.reason for error in rows.errors} == {"ENV_CONTRACT"}
    assert words in rows.errors[0].message
    assert session.step().step_in_episode == [1, 1]


def test_slots_that_move_at_different_times_need_the_capability(connect):
    client = connect(ScriptedVectorBackend(VectorScript(periods=(1, 2))))
    code, detail = client.open_refused(num_envs=2)
    assert (code, detail.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
    assert detail.field == "want_capabilities"
    assert '"partial_batch"' in detail.message


def test_slots_that_are_reset_together_are_refused_apart_and_go_on(connect):
    backend = ScriptedVectorBackend(
        VectorScript(lengths=(2, 9)), slots_per_simulator=2, resets_together=True
    )
    session = Stepper(connect(backend), num_envs=4)
    session.reset()
    session.step()
    for slots, others in ([[1], [0]], [[2, 3, 1], [0]]):
        code, detail = session.refused("Reset", slots=slots)
        assert (code, detail.reason, detail.field) == ("UNIMPLEMENTED", "UNSUPPORTED", "slots")
        assert list(detail.slots) == others
    rows = session.step()
    assert list(rows.step_in_episode) == [2] * 4
    assert list(rows.terminated) == [True, False] * 2
    assert list(session.reset(slots=[0]).episode) == [1]
    assert list(session.reset(slots=[1, 0]).episode) == [1, 2]
