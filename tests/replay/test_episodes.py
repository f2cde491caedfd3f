"""Windows inside finished episodes, against counts and lists made without the index."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wmrun.replay import episodes as episodes_module
from wmrun.replay.episodes import EpisodeIndex, EpisodeWindows
from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay

from .recording import episodes_of, held, listed, open_replay, places_of, play
from .statistics import assert_drawn_with

WINDOW = 5
EPISODES = episodes_of([9, 4, 6, 5, 12], [7, 10, 5, 8, 6])
"""36 rows in each slot; seven episodes have more than five."""


def sampler_of(
    replay: Replay, *, prioritize_ends: bool = False, context: int = 0, batch_size: int = 50
) -> Sampler:
    source = EpisodeWindows(
        replay, WINDOW + context, min_steps=WINDOW, prioritize_ends=prioritize_ends
    )
    return Sampler(replay, source, batch_size=batch_size, seed=7, context=context)


def counted(sampler: Sampler, batches: int) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(batches):
        counts.update(places_of(sampler.sample().arrays["reward"]))
    return counts


def test_every_long_enough_episode_and_every_start_in_it_is_equally_likely(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        play(replay, EPISODES, 36)
        long_enough = [(0, 0, 9), (0, 13, 6), (0, 24, 12)]
        long_enough += [(1, 0, 7), (1, 7, 10), (1, 22, 8), (1, 30, 6)]
        probabilities = {
            (slot, first + offset): 1 / 7 / (rows - WINDOW + 1)
            for slot, first, rows in long_enough
            for offset in range(rows - WINDOW + 1)
        }
        assert_drawn_with(counted(sampler_of(replay), 200), probabilities)


def test_prioritised_ends_are_drawn_as_often_as_the_published_formula_says(tmp_path: Path):
    """min(randint(L - W + 1 + W), L - W): W + 1 of the L + 1 numbers give the last start."""
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        play(replay, episodes_of([9, 12], [6, 8, 7]), 21)
        probabilities = {}
        for slot, first, rows in [(0, 0, 9), (0, 9, 12), (1, 0, 6), (1, 6, 8), (1, 14, 7)]:
            for offset in range(rows - WINDOW):
                probabilities[slot, first + offset] = 1 / 5 / (rows + 1)
            probabilities[slot, first + rows - WINDOW] = (WINDOW + 1) / 5 / (rows + 1)
        sampler = sampler_of(replay, prioritize_ends=True)
        assert_drawn_with(counted(sampler, 200), probabilities)


def test_the_final_row_of_every_episode_is_drawn(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        play(replay, EPISODES, 36)
        sampler = sampler_of(replay)
        ends: Counter[int] = Counter()
        for _ in range(40):
            drawn = sampler.sample().arrays
            ends.update(drawn["reward"][drawn["is_last"]].astype(int).tolist())
            assert not drawn["is_last"][:, :-1].any(), "a window goes beyond its episode"
            assert not drawn["is_first"][:, 1:].any(), "a window begins before its episode"
        assert set(ends) == {8, 18, 35, 1006, 1016, 1029, 1035}


def test_the_first_row_of_a_window_begins_a_sequence_only_without_context(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=1) as replay:
        play(replay, episodes_of([12, 12]), 24)
        assert sampler_of(replay).sample().arrays["is_first"][:, 0].all()
        drawn = sampler_of(replay, context=1).sample().arrays
        assert drawn["is_first"].shape == (50, WINDOW + 1)
        starts = drawn["reward"][:, 0]
        np.testing.assert_array_equal(drawn["is_first"][:, 0], np.isin(starts, [0, 12]))
        assert 0 < drawn["is_first"][:, 0].sum() < 50


def test_an_open_episode_is_drawn_only_after_it_has_ended(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=1) as replay:
        sampler = sampler_of(replay)
        for index in range(10):
            assert not sampler.ready
            play(replay, episodes_of([10]), index + 1)
        assert sampler.ready
        assert set(counted(sampler, 5)) == {(0, start) for start in range(6)}


def test_an_episode_that_was_cut_off_is_drawn_like_a_finished_one(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        sampler = sampler_of(replay)
        episodes = episodes_of([7, 20], [20], cut=[(0, 0)])
        play(replay, episodes, 7)
        assert not sampler.ready
        play(replay, episodes, 8)
        assert set(counted(sampler, 5)) == {(0, 0), (0, 1), (0, 2)}


@pytest.mark.parametrize("rows", [WINDOW, WINDOW + 1])
def test_an_episode_needs_as_many_agent_steps_as_a_sequence_has_rows(tmp_path: Path, rows: int):
    with open_replay(tmp_path, capacity=100, num_envs=1) as replay:
        play(replay, episodes_of([rows]), rows)
        assert sampler_of(replay).ready == (rows - 1 >= WINDOW)


@pytest.mark.parametrize("read_rows", [2, 1 << 18])
@pytest.mark.parametrize("every", [1, 4, 17, 45])
def test_the_index_holds_the_episodes_whose_rows_are_all_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_rows: int, every: int
):
    monkeypatch.setattr(episodes_module, "_READ_ROWS", read_rows)
    rng = np.random.default_rng(every)
    lengths = rng.integers(1, 14, (2, 40)).tolist()
    episodes = episodes_of(*lengths, cut=[(0, 3), (0, 4), (1, 7), (1, 12)])
    with open_replay(tmp_path, capacity=60, num_envs=2) as replay:
        index = EpisodeIndex(replay, min_rows=4)
        for stop in range(1, 160):
            play(replay, episodes, stop)
            if stop % every:
                continue
            index.update()
            fresh = EpisodeIndex(replay, min_rows=4)
            fresh.update()
            expected = held(episodes, replay.start, replay.stop, min_rows=4)
            assert listed(index) == listed(fresh) == expected
            assert index.longest <= 13, "rows that were never read count as one episode"


def test_episodes_that_are_all_too_short_are_an_error_that_names_the_settings(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        play(replay, episodes_of([4, 3, 5], [5, 7]), 11)
        sampler = sampler_of(replay)
        assert sampler.hopeless
        with pytest.raises(ReplayTooShort) as raised:
            sampler.sample()
        assert str(raised.value) == (
            "No episode of at least 5 agent steps can be sampled: of 3 that finished, the longest "
            "has 4.\n"
            "Set a smaller replay.batch_length, or replay.sampler=windows."
        )
        play(replay, episodes_of([4, 3, 5], [5, 7]), 12)
        assert sampler.ready
        assert not sampler.hopeless


def test_waiting_for_the_first_episode_is_not_in_vain(tmp_path: Path):
    with open_replay(tmp_path, capacity=100, num_envs=2) as replay:
        sampler = sampler_of(replay)
        play(replay, episodes_of([30], [30]), 12)
        assert not sampler.hopeless
        assert str(sampler.shortage()) == (
            "No episode of at least 5 agent steps can be sampled: none has finished.\n"
            "Set run.prefill so that episodes end in it, or replay.sampler=windows."
        )


def test_episodes_longer_than_what_a_slot_keeps_are_told_from_short_ones(tmp_path: Path):
    with open_replay(tmp_path, capacity=20, num_envs=2) as replay:
        sampler = sampler_of(replay)
        for stop in range(1, 40):
            play(replay, episodes_of([12] * 4, [12] * 4), stop)
            assert not sampler.ready
        assert sampler.hopeless
        assert str(sampler.shortage()) == (
            "No episode of at least 5 agent steps can be sampled: of 6 that finished, the longest "
            "has 11, and the 10 rows that an env slot can hold have none of them whole.\n"
            "Set a larger replay.capacity, or replay.sampler=windows."
        )


def test_a_slot_must_hold_one_row_more_than_a_sequence_has_steps(tmp_path: Path):
    with (
        open_replay(tmp_path, capacity=2 * WINDOW, num_envs=2) as replay,
        pytest.raises(ReplayTooShort, match=r"batch_length 5 needs 6 rows .* each of 2 can hold 5"),
    ):
        sampler_of(replay)
