"""The loop while every turn brings rows of other slots."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.run.loop import BATCH, SETTINGS, Loop, build_loop
from tests.run.staggered import ACTION_SIZE, NumberingAgent, StaggeredDriver
from wmrun.replay.storage import Replay
from wmrun.run.evaluate import evaluate

NUM_ENVS = 4
RUN = SETTINGS.model_copy(update={"env_steps": 160, "checkpoint_every": 30, "log_every": 1000})

Row = dict[str, Any]
MakeLoop = Callable[[StaggeredDriver], Loop]


@pytest.fixture
def make_loop(tmp_path: Path) -> MakeLoop:
    def make(driver: StaggeredDriver) -> Loop:
        eval_driver = StaggeredDriver(2, seed=1, lengths=(3, 3))
        return build_loop(driver, eval_driver, tmp_path / "run", RUN, agent=agent())

    return make


def agent() -> NumberingAgent:
    return NumberingAgent(ACTION_SIZE)


def stored(replay: Replay) -> list[list[Row]]:
    """Return every row of every slot."""
    streams = []
    for slot, (start, stop) in enumerate(zip(replay.start, replay.stop, strict=True)):
        assert start == 0, "the test wants all of the replay"
        rows = replay.read(np.array([slot]), np.array([0]), int(stop))
        streams.append([{key: v[0, t] for key, v in rows.items()} for t in range(int(stop))])
    return streams


def assert_same(row: Row, expected: Row) -> None:
    for key, value in expected.items():
        np.testing.assert_array_equal(row[key], value, key)


def test_every_slot_is_stored_as_the_driver_gave_it(make_loop):
    driver = StaggeredDriver(NUM_ENVS, seed=0)
    loop = make_loop(driver)
    counters = loop.trainer.run()
    assert counters.updates > 50
    streams = stored(loop.replay)
    assert len({len(rows) for rows in streams}) > 1, "the slots advanced together"
    for rows, expected in zip(streams, driver.streams, strict=True):
        assert len(rows) == len(expected)
        for row, like in zip(rows, expected, strict=True):
            assert_same(row, like)
    steps = sum(not row["is_first"] for rows in driver.streams for row in rows)
    assert counters.agent_steps == steps >= RUN.env_steps


def test_every_stored_stream_is_a_sequence_of_episodes(make_loop):
    driver = StaggeredDriver(NUM_ENVS, seed=2)
    loop = make_loop(driver)
    loop.trainer.run()
    assert driver.cut_off > 0
    for rows in stored(loop.replay):
        assert rows[0]["is_first"]
        for before, row in pairwise(rows):
            assert row["is_first"] == before["is_last"]
            if row["is_first"]:
                assert not row["action"].any()
                assert row["reward"] == 0
            else:
                assert row["vector"][1] == before["vector"][1] + 1


def test_a_stored_action_is_the_answer_to_the_row_before_it_in_its_slot(make_loop):
    driver = StaggeredDriver(NUM_ENVS, seed=3)
    loop = make_loop(driver)
    loop.trainer.run()
    for slot, rows in enumerate(stored(loop.replay)):
        numbers = []
        for row, answer in zip(rows, driver.answers[slot], strict=False):
            by_policy = answer[0] >= 1000
            assert row["answer"] == (answer[0] if by_policy else 0)
            numbers += [answer[0]] if by_policy else []
        assert numbers == [1000 * (slot + 1) + 1 + i for i in range(len(numbers))]
        for before, row in pairwise(rows):
            if not row["is_first"] and row["action"][0] >= 1000:
                assert row["action"][0] == before["answer"]
        assert len(numbers) > 10


def test_sequences_that_are_trained_on_stay_in_their_slot(make_loop):
    loop = make_loop(StaggeredDriver(NUM_ENVS, seed=4))
    loop.trainer.run()
    assert loop.agent.batches
    for batch in loop.agent.batches:
        assert batch["vector"].shape == (*BATCH, 4)
        assert (batch["vector"][:, :, 0] == batch["vector"][:, :1, 0]).all()
        first = batch["is_first"][:, 1:]
        assert (first == batch["is_last"][:, :-1]).all()


def test_a_resumed_run_goes_on_behind_the_rows_of_each_slot(make_loop):
    driver = StaggeredDriver(NUM_ENVS, seed=9)
    first = make_loop(driver)
    first.trainer.run()
    older = first.trainer.parts.checkpoints.all()[0]
    stops = older.state()["replay"]["stop"]
    assert len(set(stops)) > 1
    assert all(np.array(stops) < first.replay.stop)
    assert not driver.streams[-1][stops[-1] - 1]["is_last"], "the slot that is away at first"
    first.replay.close()

    second_driver = StaggeredDriver(NUM_ENVS, seed=6)
    second = make_loop(second_driver)
    second.trainer.restore(older)
    second.trainer.run()
    for slot, rows in enumerate(stored(second.replay)):
        before, after = rows[: stops[slot]], rows[stops[slot] :]
        for row, like in zip(before[:-1], driver.streams[slot], strict=False):
            assert_same(row, like)
        # What the stop cut off has ended, also in a slot that was away at the first rows.
        assert_same(before[-1], {**driver.streams[slot][stops[slot] - 1], "is_last": True})
        assert len(after) == len(second_driver.streams[slot]) > 0
        for row, like in zip(after, second_driver.streams[slot], strict=True):
            assert_same(row, like)


def test_every_slot_plays_its_share_of_an_evaluation():
    driver = StaggeredDriver(3, seed=7, lengths=(2, 5, 9))
    evaluation = evaluate(agent(), driver, episodes=7)
    played = [(episode.slot, episode.episode_return) for episode in evaluation.episodes]
    assert sorted(played) == [(0, 2), (0, 2), (0, 2), (1, 5), (1, 5), (2, 9), (2, 9)]
    assert all(episode.length == episode.episode_return for episode in evaluation.episodes)
    for slot, answers in enumerate(driver.answers):
        numbers = [answer[0] for answer in answers]
        assert numbers == [1000 * (slot + 1) + 1 + i for i in range(len(numbers))]


def test_frames_are_those_of_slot_0_at_whatever_turn_they_come():
    driver = StaggeredDriver(3, seed=8, lengths=(6, 2, 2))
    evaluation = evaluate(agent(), driver, episodes=3, image_key="vector")
    assert evaluation.frames[:, :2].tolist() == [[0, step] for step in range(7)]
