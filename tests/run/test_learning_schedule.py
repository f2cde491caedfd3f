"""When the loop acts, learns and writes back, seen from an agent that only counts."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.run.loop import BATCH, NUM_ENVS, SETTINGS, Loop
from wmrun.config.schema import RunConfig
from wmrun.replay.episodes import EpisodeWindows
from wmrun.replay.sampler import Batch
from wmrun.replay.windows import UniformWindows
from wmrun.run import train

AllEpisodes = partial(EpisodeWindows, min_steps=4)
"""Echo's episodes have 5 agent steps."""


def changed(**settings: Any) -> RunConfig:
    return SETTINGS.model_copy(update=settings)


def updates_by_step(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record (agent steps, updates) at the end of every step of the loop to be run."""
    seen: list[tuple[int, int]] = []
    step_end = loop.trainer.parts.driver.step_end

    def recording() -> Any:
        seen.append((loop.trainer.counters.agent_steps, loop.trainer.counters.updates))
        return step_end()

    monkeypatch.setattr(loop.trainer.parts.driver, "step_end", recording)
    return seen


def test_the_policy_prefills_where_it_is_told_to(make_loop, monkeypatch):
    loop = make_loop(changed(prefill_with="policy", pretrain=0))
    monkeypatch.setattr(loop.trainer.parts.driver.adapter, "random", None)
    seen = updates_by_step(loop, monkeypatch)
    loop.trainer.run()
    assert loop.agent.modes[:5] == ["train"] * 5
    # 2 steps at once, 8 rows per update and a ratio of 4: after the prefill, one at every turn.
    assert [updates for steps, updates in seen if steps <= SETTINGS.prefill][-1] == 0
    assert max(updates for _, updates in seen) == loop.agent.updates > 10


def test_updates_wait_until_a_burst_of_them_is_due(make_loop, monkeypatch):
    loop = make_loop(changed(env_steps=100, update_burst=5, pretrain=3))
    seen = updates_by_step(loop, monkeypatch)
    counters = loop.trainer.run()
    assert {updates for _, updates in seen} == {0, 3, 8, 13, 18, 23, 28, 33, 38}
    owed = (counters.agent_steps - SETTINGS.prefill) / 2
    assert counters.updates - 3 <= owed < counters.updates - 3 + 5 + NUM_ENVS


def test_a_burst_that_a_signal_cut_short_is_finished_by_the_resumed_run(make_loop):
    settings = changed(update_burst=5, pretrain=0)
    first = make_loop(settings)
    update = first.agent.update

    def stop_at_7(batch: Any) -> Any:
        if first.agent.updates == 6:
            first.signals.received = 15
        return update(batch)

    first.agent.update = stop_at_7
    assert first.trainer.run().updates == 7
    checkpoint = first.trainer.parts.checkpoints.find("last")
    first.replay.close()

    second = make_loop(settings)
    second.trainer.restore(checkpoint)
    second.agent.act = _stop_at_the_second_call(second)
    assert second.trainer.run().updates == 10


def _stop_at_the_second_call(loop: Loop) -> Any:
    act, calls = loop.agent.act, []

    def acting(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            loop.signals.received = 15
        return act(*arguments)

    return acting


def test_entries_of_acting_and_of_updates_are_kept_with_their_rows(make_loop):
    """Against a plain array in which what was written last stands."""
    loop = make_loop(changed(prefill_with="policy", env_steps=150), context=1)
    expected = np.zeros((NUM_ENVS, 400, 2), np.float32)
    acts = 0
    act, sample = loop.agent.act, loop.trainer.parts.sampler.sample

    def acting(obs: Any, is_first: Any, carry: Any, mode: str) -> Any:
        nonlocal acts
        if mode == "train":
            acts += 1
            slots = np.arange(NUM_ENVS)
            expected[slots, loop.replay.stop - 1] = [[-acts, slot] for slot in slots]
        return act(obs, is_first, carry, mode)

    def sampling() -> Batch:
        batch = sample()
        assert batch.arrays["mark"].shape == (BATCH[0], BATCH[1] + 1, 2)
        for b, (slot, start) in enumerate(zip(batch.slots, batch.starts, strict=True)):
            held = expected[slot, start : start + BATCH[1] + 1]
            np.testing.assert_array_equal(batch.arrays["mark"][b], held)
        for slot, start in zip(batch.slots, batch.starts, strict=True):
            for t in range(BATCH[1]):
                expected[slot, start + 1 + t] = [loop.agent.updates + 1, t]
        return batch

    loop.agent.act, loop.trainer.parts.sampler.sample = acting, sampling
    loop.trainer.run()
    assert loop.agent.updates > 30
    start, stop = loop.replay.start[0], loop.replay.stop[0]
    held = loop.replay.read(np.arange(NUM_ENVS), loop.replay.start, stop - start)["mark"]
    np.testing.assert_array_equal(held, expected[:, start:stop])


def test_a_context_row_keeps_its_is_first_and_is_not_counted_as_replayed(make_loop):
    loop = make_loop(context=1)
    loop.trainer.run()
    first = np.concatenate([batch["is_first"][:, 0] for batch in loop.agent.batches])
    assert 0 < first.sum() < len(first)
    assert loop.trainer.parts.sampler.rows_per_batch == BATCH[0] * BATCH[1]


def test_batches_of_whole_episodes_train_like_others(make_loop):
    loop = make_loop(source=AllEpisodes)
    counters = loop.trainer.run()
    assert loop.agent.updates == counters.updates > 20
    for batch in loop.agent.batches:
        assert not batch["is_first"][:, 1:].any()
        assert not batch["is_last"][:, :-1].any()


def test_episodes_that_are_too_short_are_said_once_with_the_setting_that_helps(make_loop):
    loop = make_loop(source=partial(EpisodeWindows, min_steps=6))
    counters = loop.trainer.run()
    assert counters.updates == 0
    said = " ".join(loop.output.getvalue().split())
    assert said.count("No episode of at least 6 agent steps can be sampled") == 1
    assert "no updates at 20 agent steps" in said
    assert "the longest has 5. Set a smaller replay.batch_length, or replay.sampler=w" in said


def test_episodes_that_do_not_end_are_said_once_after_long_waiting(make_loop, monkeypatch):
    monkeypatch.setattr(train, "_PATIENCE", 10)
    loop = make_loop(source=_NeverReady)
    loop.trainer.run()
    said = " ".join(loop.output.getvalue().split())
    assert said.count("no updates at 40 agent steps") == said.count("no updates") == 1


class _NeverReady(UniformWindows):
    ready = False


class _GoesAway(UniformWindows):
    """Has nothing to draw between the rows 20 and 30, as if all episodes had been overwritten."""

    @property
    def ready(self) -> bool:
        return super().ready and not 20 <= self.replay.stop[0] < 30


def test_a_replay_that_runs_dry_halts_learning_but_not_the_policy(make_loop, monkeypatch):
    loop = make_loop(changed(pretrain=0), source=_GoesAway)
    random, update = loop.trainer.parts.driver.adapter.random, loop.agent.update
    rows_at_updates: list[int] = []

    def drawing(*arguments: Any) -> Any:
        assert not rows_at_updates, "random actions after learning began"
        return random(*arguments)

    def updating(batch: Any) -> Any:
        rows_at_updates.append(int(loop.replay.stop[0]))
        return update(batch)

    loop.agent.update = updating
    monkeypatch.setattr(loop.trainer.parts.driver.adapter, "random", drawing)
    loop.trainer.run()
    assert min(rows_at_updates) < 20
    assert not set(rows_at_updates) & set(range(20, 30))
    assert max(rows_at_updates) > 30
    # Two agent steps per turn earn one update of 8 rows; what was missed is not made up for.
    assert max(Counter(rows_at_updates).values()) == 1
