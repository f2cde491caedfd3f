"""The whole loop with an agent that only counts, on the echo environment behind a real server."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from tests.run.loop import BATCH, NUM_ENVS, SETTINGS
from wmrun.errors import EnvError, TrainingDiverged


def test_the_run_counts_steps_and_pays_the_train_ratio(make_loop):
    loop = make_loop()
    counters = loop.trainer.run()
    assert counters.env_steps == counters.agent_steps >= SETTINGS.env_steps
    # A batch replays 8 rows: every 2 agent steps after the prefill earn an update.
    earned = (counters.agent_steps - SETTINGS.prefill) / 2
    assert counters.updates == loop.agent.updates
    assert abs(counters.updates - SETTINGS.pretrain - earned) <= NUM_ENVS


def test_a_run_that_took_no_update_says_why(make_loop):
    loop = make_loop(SETTINGS.model_copy(update={"pretrain": 0, "train_ratio": 0.01}))
    assert loop.trainer.run().updates == 0
    assert "nothing was learnt" in loop.output.getvalue()


def test_the_policy_does_not_act_before_the_prefill_is_done(make_loop):
    loop = make_loop()
    counters = loop.trainer.run()
    acted = loop.agent.modes.count("train") * NUM_ENVS
    resets = len(loop.replay) - counters.agent_steps
    assert acted <= counters.agent_steps - SETTINGS.prefill + resets


def test_batches_carry_the_actions_that_led_to_their_observations(make_loop):
    loop = make_loop()
    loop.trainer.run()
    for batch in loop.agent.batches:
        first = batch["is_first"][:, 1:]
        assert (batch["action"][:, 1:][first] == 0).all()
        assert (batch["reward"][:, 1:][first] == 0).all()
        after_last = batch["is_last"][:, :-1] == first
        assert after_last.all(), "a row after is_last begins an episode, and no other row does"


def test_logging_evaluation_and_checkpoints_keep_their_intervals(make_loop):
    loop = make_loop()
    loop.trainer.run()
    assert loop.tracker.steps_of("loss/model")[0] <= 30
    assert len(loop.tracker.steps_of("speed/env_steps_per_s")) == 6
    assert len(loop.tracker.steps_of("eval/return_mean")) == 2  # the last one is the final one
    store = loop.trainer.parts.checkpoints
    assert store.find("last").env_steps == loop.trainer.counters.env_steps
    assert store.best_score() is not None


def test_a_run_stops_when_an_evaluation_reaches_the_return_it_was_asked_for(make_loop):
    loop = make_loop()
    loop.trainer.settings = SETTINGS.model_copy(update={"stop_at_return": 1.0})
    counters = loop.trainer.run()
    assert counters.env_steps == loop.tracker.steps_of("eval/return_mean")[0] == 30
    assert loop.trainer.parts.checkpoints.find("last").env_steps == 30


def test_evaluation_leaves_the_replay_alone(make_loop):
    loop = make_loop()
    loop.trainer.run()
    before = len(loop.replay)
    loop.trainer.parts.evaluate(loop.trainer.counters)
    assert len(loop.replay) == before


def test_a_signal_ends_the_run_with_a_checkpoint(make_loop):
    loop = make_loop()
    loop.signals.received = signal.SIGTERM
    counters = loop.trainer.run()
    assert counters.env_steps == 0
    assert loop.trainer.parts.checkpoints.find("last").env_steps == 0
    assert loop.signals.exit_code == 143


def test_a_restored_run_goes_on_where_the_checkpoint_was_written(make_loop):
    first = make_loop()
    first.trainer.run()
    checkpoint = first.trainer.parts.checkpoints.find("last")
    rows = len(first.replay)
    first.replay.close()

    second = make_loop()
    second.trainer.settings = SETTINGS.model_copy(update={"env_steps": 100})
    second.trainer.restore(checkpoint)
    assert second.trainer.counters == first.trainer.counters
    assert second.agent.updates == first.agent.updates
    assert len(second.replay) == rows
    counters = second.trainer.run()
    assert counters.env_steps >= 100
    assert "random" not in second.agent.modes
    gained = (counters.agent_steps - first.trainer.counters.agent_steps) / 2
    assert abs(counters.updates - first.trainer.counters.updates - gained) <= NUM_ENVS


def test_a_restored_run_ends_the_episodes_that_the_stop_cut_off(make_loop):
    first = make_loop()
    first.trainer.run()
    checkpoint = first.trainer.parts.checkpoints.find("last")
    last_rows = first.replay.stop - 1
    first.replay.close()

    second = make_loop()
    second.trainer.restore(checkpoint)
    second.trainer.settings = SETTINGS.model_copy(update={"env_steps": 62})
    second.trainer.run()
    slots = np.arange(NUM_ENVS)
    windows = second.replay.read(slots, last_rows, 2)
    assert windows["is_last"][:, 0].all()
    assert windows["is_first"][:, 1].all()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(make_loop):
    loop = make_loop(diverge_at=5)
    with pytest.raises(TrainingDiverged, match=r"loss/image is nan at update 5") as caught:
        loop.trainer.run()
    (file,) = loop.trainer.parts.diverged_dir.iterdir()
    assert str(file) in str(caught.value)
    with np.load(file, allow_pickle=False) as batch:
        assert batch["vector"].shape == (*BATCH, 4)


def test_environments_that_fail_for_good_leave_a_checkpoint(make_loop, monkeypatch):
    loop = make_loop()
    step_end, calls = loop.trainer.parts.driver.step_end, 0

    def failing_step_end():
        nonlocal calls
        calls += 1
        if calls == 25:
            step_end()
            raise EnvError("the budget is spent")
        return step_end()

    monkeypatch.setattr(loop.trainer.parts.driver, "step_end", failing_step_end)
    with pytest.raises(EnvError, match="the budget is spent"):
        loop.trainer.run()
    checkpoint = loop.trainer.parts.checkpoints.find("last")
    assert checkpoint.state()["counters"]["updates"] == loop.agent.updates > 0


def test_the_prefill_is_kept_in_checkpoints_too(make_loop, monkeypatch):
    loop = make_loop(SETTINGS.model_copy(update={"checkpoint_every": 10}))
    driver = loop.trainer.parts.driver
    step_end = driver.step_end

    def failing_step_end():
        if loop.trainer.counters.env_steps >= 14:
            raise EnvError("the budget is spent")
        return step_end()

    monkeypatch.setattr(driver, "step_end", failing_step_end)
    with pytest.raises(EnvError, match="the budget is spent"):
        loop.trainer.run()
    assert loop.trainer.counters.env_steps < SETTINGS.prefill
    assert 10 <= loop.trainer.parts.checkpoints.find("last").env_steps < 14


def test_going_back_to_an_older_checkpoint_drops_the_branch_that_came_after(make_loop):
    first = make_loop()
    first.trainer.run()
    store = first.trainer.parts.checkpoints
    older, newest = store.all()[0], store.all()[-1]
    assert older.env_steps < newest.env_steps
    first.replay.close()

    second = make_loop()
    second.trainer.restore(older)
    assert store.find("last") == older
    second.agent.updates += 1000  # a branch that can be told from the abandoned one
    second.trainer.run()
    final = store.find("last")
    assert final.env_steps == newest.env_steps
    assert int(final.tensors("agent")["updates"]) == second.agent.updates > 1000
