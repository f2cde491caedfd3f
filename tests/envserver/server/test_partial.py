from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire import messages

from tests.envserver.server.client import Stepper, vectors
from tests.envserver.server.scripted import Script, ScriptedBackend, actions
from tests.envserver.server.scripted_vector import ScriptedVectorBackend, VectorScript

PARTIAL = ["partial_batch"]


def test_a_step_answers_some_slots_and_its_reply_has_their_rows(connect):
    session = Stepper(connect(ScriptedBackend()), num_envs=3, want_capabilities=PARTIAL)
    session.reset()
    rows = session.step(slots=[2, 0], gear=2)
    assert (list(rows.slot), list(rows.step_in_episode)) == ([2, 0], [1, 1])
    rows = session.step(gear=3)
    assert (list(rows.slot), list(rows.step_in_episode)) == ([0, 1, 2], [2, 1, 2])


def test_a_slot_whose_row_was_answered_awaits_nothing_until_its_next(connect):
    script = VectorScript(periods=(1, 2))
    session = Stepper(connect(ScriptedVectorBackend(script)), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    assert list(session.step().slot) == [0]
    code, detail = session.refused("Step", slots=[0, 1], action=actions(2))
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "NOT_RESET")
    assert (detail.field, list(detail.slots)) == ("slots", [1])
    code, detail = session.refused("Step", action=actions(2))
    assert (code, detail.reason, list(detail.slots)) == ("FAILED_PRECONDITION", "NOT_RESET", [1])
    rows = session.step(slots=[0])
    assert (list(rows.slot), list(rows.step_in_episode)) == ([0, 1], [2, 1])


def test_staggered_slots_come_when_they_decide(connect):
    script = VectorScript(periods=(1, 2, 3))
    session = Stepper(connect(ScriptedVectorBackend(script)), num_envs=3, want_capabilities=PARTIAL)
    rows = session.reset()
    seen = []
    for _ in range(6):
        rows = session.step(slots=list(rows.slot))
        seen.append(list(rows.slot))
    assert seen == [[0], [0, 1], [0, 2], [0, 1], [0], [0, 1, 2]]
    assert list(rows.step_in_episode) == [6, 3, 2]


def test_a_reply_is_empty_only_while_others_have_to_answer(connect):
    script = VectorScript(periods=(2, 2))
    session = Stepper(connect(ScriptedVectorBackend(script)), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    assert not session.step(slots=[1]).slot
    rows = session.step(slots=[0])
    assert (list(rows.slot), list(rows.step_in_episode)) == ([0, 1], [1, 1])


def test_slots_that_are_not_there_yet_are_absent_and_then_begin(connect):
    script = VectorScript(appears_at=(0, 2))
    session = Stepper(connect(ScriptedVectorBackend(script)), num_envs=2, want_capabilities=PARTIAL)
    rows = session.reset()
    assert list(rows.slot) == [0, 1]
    assert list(rows.status) == [messages.SLOT_OK, messages.SLOT_ABSENT]
    assert list(rows.is_first) == [True, False]
    assert session.refused("Step", action=actions(2))[1].slots == [1]

    assert list(session.step(slots=[0]).slot) == [0]
    rows = session.step(slots=[0])
    assert (list(rows.slot), list(rows.is_first)) == ([0, 1], [False, True])
    assert (list(rows.episode), list(rows.status)) == ([0, 0], [messages.SLOT_OK] * 2)
    assert session.step().step_in_episode == [3, 1]


@pytest.mark.parametrize("mode", [messages.NEXT_STEP, messages.SAME_STEP, messages.DISABLED])
def test_episodes_end_in_partial_batches_as_in_full_ones(connect, mode):
    script = VectorScript(periods=(1, 2), lengths=(2, 1))
    session = Stepper(
        connect(ScriptedVectorBackend(script)),
        num_envs=2,
        want_capabilities=PARTIAL,
        autoreset=mode,
    )
    rows = session.reset()
    history: dict[int, list] = {0: [], 1: []}
    for _ in range(8):
        slots = sorted(set(rows.slot))
        if mode == messages.DISABLED:
            over = [s for s, t in zip(rows.slot, rows.terminated, strict=True) if t]
            if over:
                session.reset(slots=over)
        rows = session.step(slots=slots)
        for slot, *entry in zip(
            rows.slot, rows.episode, rows.step_in_episode, rows.terminated, strict=True
        ):
            history[slot].append(tuple(entry))
    first = [] if mode == messages.DISABLED else [(1, 0, False)]
    assert history[0][:4] == [(0, 1, False), (0, 2, True), *first, (1, 1, False), (1, 2, True)][:4]
    assert history[1][:2] == [(0, 1, True), *first, (1, 1, True)][:2]


def test_a_failure_brings_every_slot_of_the_simulator_back(connect, caplog):
    backend = ScriptedVectorBackend(
        VectorScript(step_error=RuntimeError("boom"), error_at=2), VectorScript()
    )
    session = Stepper(connect(backend), num_envs=3, want_capabilities=PARTIAL)
    session.reset()
    rows = session.step(slots=[1])
    assert sorted(rows.slot) == [0, 1, 2]
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 3
    assert list(rows.episode) == [1, 1, 1]
    assert session.step().step_in_episode == [1, 1, 1]


def test_a_failed_slot_is_told_once_and_may_be_named_again(connect, caplog):
    backend = ScriptedBackend(Script(step_error=RuntimeError("boom")), Script())
    session = Stepper(
        connect(backend, Limits(max_restarts=0)), num_envs=2, want_capabilities=PARTIAL
    )
    session.reset()
    failed, ok = messages.SLOT_FAILED, messages.SLOT_OK
    assert list(session.step().status) == [failed, ok]
    rows = session.step(slots=[1])
    assert (list(rows.slot), list(rows.status)) == ([1], [ok])
    rows = session.step(slots=[0, 1])
    assert (list(rows.slot), list(rows.status)) == ([0, 1], [failed, ok])


def test_a_slot_that_was_absent_begins_in_the_new_simulator_too(connect, caplog):
    backend = ScriptedVectorBackend(
        VectorScript(appears_at=(0, 9), step_error=RuntimeError("boom"), error_at=2), VectorScript()
    )
    session = Stepper(connect(backend), num_envs=2, want_capabilities=PARTIAL)
    assert list(session.reset().status) == [messages.SLOT_OK, messages.SLOT_ABSENT]
    rows = session.step(slots=[0])
    assert list(rows.slot) == [0, 1]
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 2
    assert list(rows.episode) == [1, 0]


def test_a_simulator_that_never_answers_breaks_the_contract(connect, caplog):
    def nothing(batch):
        none = np.array([], np.int64)
        flags = none.astype(np.bool_)
        empty = [leaf[:0] for leaf in batch.obs]
        return batch._replace(
            slots=none,
            obs=empty,
            reward=none,
            terminated=flags,
            truncated=flags,
            is_first=flags,
            info={},
        )

    backend = ScriptedVectorBackend(VectorScript(spoil={2: nothing}), VectorScript())
    session = Stepper(connect(backend), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    rows = session.step()
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 2
    assert rows.errors[0].reason == "ENV_CONTRACT"
    assert "every slot was answered" in rows.errors[0].message


def test_a_masked_reset_in_a_partial_batch_answers_for_the_slots_named(connect):
    session = Stepper(connect(ScriptedBackend()), num_envs=3, want_capabilities=PARTIAL)
    session.reset()
    session.step(slots=[1])
    rows = session.reset(slots=[2, 1], seeds=[8, 9])
    assert (list(rows.slot), list(rows.episode)) == ([2, 1], [1, 1])
    assert vectors(rows)[:, 2].tolist() == [8, 9]
    assert session.step().step_in_episode == [1, 1, 1]


def test_a_pause_before_a_restart_holds_up_no_other_slot(connect, caplog):
    always = Script(step_error=RuntimeError("boom"))
    backend = ScriptedBackend(always, Script(), always)
    limits = Limits(restart_pause_s=3600)
    session = Stepper(connect(backend, limits), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    assert list(session.step().status) == [messages.SLOT_RESTARTED, messages.SLOT_OK]
    rows = session.step(slots=[0, 1])
    assert (list(rows.slot), list(rows.step_in_episode)) == ([1], [2])
    assert backend.made[2].closed.is_set()
    rows = session.step(slots=[1])
    assert (list(rows.slot), list(rows.step_in_episode)) == ([1], [3])


def test_a_simulator_that_waits_to_be_replaced_is_closed_and_asked_for_nothing(connect, caplog):
    always = VectorScript(step_error=RuntimeError("boom"), error_at=2)
    backend = ScriptedVectorBackend(always, VectorScript(), always, slots_per_simulator=2)
    limits = Limits(restart_pause_s=3600)
    session = Stepper(connect(backend, limits), num_envs=4, want_capabilities=PARTIAL)
    session.reset()
    assert list(session.step().slot) == [0, 1, 2, 3]
    assert list(session.step().slot) == [2, 3]
    assert backend.made[2].is_closed
    assert list(session.step(slots=[2, 3]).slot) == [2, 3]
    assert len(backend.made[2].calls) == 2
