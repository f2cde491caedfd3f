"""Slots that do not advance together: which windows there are, and how likely each is."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmrun.replay import episodes as episodes_module
from wmrun.replay import rowfile
from wmrun.replay.episodes import EpisodeIndex, EpisodeWindows
from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import OnlineWindows, UniformWindows

from .recording import (
    assert_holds,
    episodes_of,
    fill,
    held,
    listed,
    only,
    open_replay,
    play,
    record,
    transitions,
)

NUM_ENVS = 3
CALLS = st.lists(st.sets(st.integers(0, NUM_ENVS - 1), min_size=1), max_size=60)
"""The slots that get a row, call by call."""


class EveryNumber:
    """In the place of a random generator: draws each number below the bound once, in order."""

    def integers(self, high: int, size: int) -> np.ndarray:
        assert size == high
        return np.arange(high)


def uniform_places(replay: Replay, window: int) -> list[tuple[int, int]]:
    """Return (slot, start) for every number that `UniformWindows` may draw."""
    count = int(replay.num_windows(window).sum())
    places = UniformWindows(replay, window).draw(count, EveryNumber())
    return list(zip(places.slots.tolist(), places.starts.tolist(), strict=True))


def test_every_window_of_every_slot_is_drawn_by_one_number(tmp_path: Path):
    with open_replay(tmp_path, capacity=12, num_envs=NUM_ENVS) as replay:
        record(replay, [[0, 1, 2], [0], [0, 2], [2], [0, 2], [0], [0]])
        assert uniform_places(replay, 3) == [(0, 2), (0, 3), (2, 0), (2, 1)]
        assert uniform_places(replay, 1) == [
            *((0, start) for start in (2, 3, 4, 5)),
            (1, 0),
            *((2, start) for start in (0, 1, 2, 3)),
        ]


def test_a_slot_that_has_no_window_yet_does_not_keep_others_from_being_sampled(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=NUM_ENVS) as replay:
        sampler = Sampler(replay, UniformWindows(replay, 4), batch_size=16, seed=0)
        record(replay, [[1]] * 3)
        assert not sampler.ready
        assert "none of 3 env slots has more than 3 rows" in str(sampler.shortage())
        record(replay, [[1]] * 2)
        assert sampler.ready
        batch = sampler.sample()
        assert set(zip(batch.slots.tolist(), batch.starts.tolist(), strict=True)) == {
            (1, 0),
            (1, 1),
        }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(calls=CALLS, chunk_rows=st.integers(1, 8), window=st.integers(1, 5))
def test_contents_and_windows_are_those_of_plain_lists(
    calls: list[set[int]], chunk_rows: int, window: int
):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(rowfile, "CHUNK_ROWS", chunk_rows)
        with open_replay(Path(directory), 7 * NUM_ENVS, NUM_ENVS) as replay:
            stream = record(replay, [sorted(slots) for slots in calls])
            assert replay.stop.tolist() == stream.lengths
            assert_holds(replay, stream, window)
            expected = [
                (slot, start)
                for slot, length in enumerate(stream.lengths)
                for start in range(max(0, length - 7), length - window + 1)
            ]
            assert replay.num_windows(window).sum() == len(expected)
            if expected:
                assert uniform_places(replay, window) == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(calls=CALLS, counts=st.lists(st.integers(0, 5), min_size=60, max_size=60))
def test_each_online_window_comes_once_those_of_smaller_indices_first(
    calls: list[set[int]], counts: list[int]
):
    taken: set[tuple[int, int]] = set()
    with (
        tempfile.TemporaryDirectory() as directory,
        open_replay(Path(directory), 11 * NUM_ENVS, NUM_ENVS) as replay,
    ):
        queue = OnlineWindows(replay, 3)
        for number, slots in enumerate(calls):
            replay.append(only(slots, transitions(number, NUM_ENVS)))
            waiting = sorted(
                (start, slot)
                for slot, (first, stop) in enumerate(zip(replay.start, replay.stop, strict=True))
                for start in range(0, int(stop) - 2, 3)
                if start >= first and (start, slot) not in taken
            )
            assert len(queue) == len(waiting)
            places = queue.take(counts[number])
            got = list(zip(places.starts.tolist(), places.slots.tolist(), strict=True))
            assert got == waiting[: counts[number]]
            taken.update(got)
            state = json.loads(json.dumps(queue.save()))
            queue = OnlineWindows(replay, 3)
            queue.load(state)


def test_an_online_queue_saved_while_all_slots_had_one_length_goes_on(tmp_path: Path):
    with open_replay(tmp_path, capacity=90, num_envs=NUM_ENVS) as replay:
        fill(replay, 13)
        queue = OnlineWindows(replay, 4)
        queue.load({"start": 4, "slot": 2})
        places = queue.take(9)
        assert places.slots.tolist() == [2, 0, 1, 2]
        assert places.starts.tolist() == [4, 8, 8, 8]


@pytest.mark.parametrize("read_rows", [3, 1 << 18])
def test_the_index_of_episodes_follows_each_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_rows: int
):
    monkeypatch.setattr(episodes_module, "_READ_ROWS", read_rows)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 14, (NUM_ENVS, 30)).tolist()
    episodes = episodes_of(*lengths, cut=[(0, 3), (0, 4), (1, 7), (2, 1)])
    with open_replay(tmp_path, capacity=90, num_envs=NUM_ENVS) as replay:
        index = EpisodeIndex(replay, min_rows=4)
        stop = np.zeros(NUM_ENVS, np.int64)
        for _ in range(60):
            stop += rng.integers(0, [3, 6, 40]) * (rng.random(NUM_ENVS) < 0.4)
            stop = np.minimum(stop, 150)
            play(replay, episodes, stop)
            index.update()
            fresh = EpisodeIndex(replay, min_rows=4)
            fresh.update()
            expected = held(episodes, replay.start, replay.stop, min_rows=4)
            assert listed(index) == listed(fresh) == expected
        assert len(set(replay.stop.tolist())) == NUM_ENVS


def test_episodes_of_slow_slots_are_as_likely_as_those_of_fast_ones(tmp_path: Path):
    with open_replay(tmp_path, capacity=300, num_envs=NUM_ENVS) as replay:
        play(replay, episodes_of([6] * 9, [6] * 9, [6] * 9), [54, 6, 13])
        source = EpisodeWindows(replay, 6, min_steps=5)
        places = source.draw(12, EveryNumberOfEpisodes())
        drawn = Counter(zip(places.slots.tolist(), places.starts.tolist(), strict=True))
        assert drawn == Counter(
            [*((0, start) for start in range(0, 54, 6)), (1, 0), (2, 0), (2, 6)]
        )


class EveryNumberOfEpisodes:
    """Draws every episode once, and the first window of each."""

    def integers(self, high: int | np.ndarray, size: int | None = None) -> np.ndarray:
        return np.zeros(len(high), np.int64) if size is None else EveryNumber().integers(high, size)
