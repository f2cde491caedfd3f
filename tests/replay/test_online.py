"""Every window once, in the order in which they were completed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import OnlineWindows, UniformWindows

from .recording import episodes_of, open_replay, places_of, play

STREAM = episodes_of([7] * 40, [11] * 30)
"""Windows may cross the ends of these."""


def sampler_of(replay: Replay, *, batch_size: int, length: int = 4, context: int = 0) -> Sampler:
    window = context + length
    return Sampler(
        replay,
        UniformWindows(replay, window),
        batch_size=batch_size,
        seed=0,
        context=context,
        online=OnlineWindows(replay, window),
    )


def drawn(sampler: Sampler) -> list[tuple[int, int]]:
    return places_of(sampler.sample().arrays["reward"])


def test_windows_come_once_in_the_order_of_their_completion_before_any_other(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=2) as replay:
        sampler = sampler_of(replay, batch_size=3)
        play(replay, STREAM, 15)  # 0..4, 4..8, 8..12 of both slots are complete
        assert drawn(sampler) == [(0, 0), (1, 0), (0, 4)]
        play(replay, STREAM, 16)
        assert drawn(sampler) == [(1, 4), (0, 8), (1, 8)]
        new = drawn(sampler)
        assert new[:2] == [(0, 12), (1, 12)]
        assert new[2][1] in range(13)


def test_what_the_queue_lacks_is_drawn_uniformly(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=2) as replay:
        play(replay, STREAM, 40)
        sampler = sampler_of(replay, batch_size=20)
        assert drawn(sampler) == [(slot, start) for start in range(0, 40, 4) for slot in range(2)]
        starts = {start for _ in range(20) for _, start in drawn(sampler)}
        assert starts == set(range(37))


def test_batch_and_places_agree(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=2) as replay:
        play(replay, STREAM, 12)
        sampler = sampler_of(replay, batch_size=5)
        for _ in range(4):
            batch = sampler.sample()
            places = zip(batch.slots.tolist(), batch.starts.tolist(), strict=True)
            assert places_of(batch.arrays["reward"]) == list(places)


def test_windows_have_their_context_and_keep_is_first_as_it_is_stored(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=1) as replay:
        play(replay, episodes_of([7] * 10), 20)
        sampler = sampler_of(replay, batch_size=4, length=4, context=1)
        assert sampler.rows_per_batch == 16
        batch = sampler.sample().arrays
        assert places_of(batch["reward"]) == [(0, 0), (0, 5), (0, 10), (0, 15)]
        first = np.arange(20).reshape(4, 5) % 7 == 0
        np.testing.assert_array_equal(batch["is_first"], first)


def test_without_context_every_window_begins_a_sequence(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=2) as replay:
        play(replay, STREAM, 20)
        assert sampler_of(replay, batch_size=12).sample().arrays["is_first"][:, 0].all()


def test_windows_whose_rows_are_gone_are_left_out_and_the_others_stay_in_step(tmp_path: Path):
    with open_replay(tmp_path, capacity=20, num_envs=2) as replay:
        sampler = sampler_of(replay, batch_size=1)
        play(replay, STREAM, 8)
        assert drawn(sampler) == [(0, 0)]
        play(replay, STREAM, 37)  # rows 27..37 are held: of the windows 28..32 and 32..36
        assert [drawn(sampler) for _ in range(4)] == [[(0, 28)], [(1, 28)], [(0, 32)], [(1, 32)]]


def test_what_waits_is_at_most_what_the_replay_holds(tmp_path: Path):
    with open_replay(tmp_path, capacity=24, num_envs=2) as replay:
        queue = OnlineWindows(replay, 4)
        for stop in range(1, 100):
            play(replay, STREAM, stop)
            complete = {start for start in range(0, 100, 4) if start + 4 <= stop}
            assert len(queue) == 2 * len({s for s in complete if s >= replay.start[0]})


def test_the_queue_is_saved_with_the_sampler(tmp_path: Path):
    with open_replay(tmp_path, capacity=400, num_envs=2) as replay:
        play(replay, STREAM, 23)
        sampler = sampler_of(replay, batch_size=3)
        sampler.sample()
        state = json.loads(json.dumps(sampler.save()))
        resumed = sampler_of(replay, batch_size=3)
        resumed.load(state)
        assert drawn(resumed) == [(1, 4), (0, 8), (1, 8)]
