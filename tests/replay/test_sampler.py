from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wmrun.replay.episodes import EpisodeWindows
from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import UniformWindows

from .recording import Stream, fill, open_replay


def sampler_of(replay: Replay, *, batch_size: int, batch_length: int, seed: int) -> Sampler:
    source = UniformWindows(replay, batch_length)
    return Sampler(replay, source, batch_size=batch_size, seed=seed)


REST = ("image", "vector", "action", "reward", "is_last", "is_terminal")


def windows_of(batch: dict[str, np.ndarray], stream: Stream) -> list[tuple[int, int]]:
    """Find (slot, start) of every window of a batch by the reward of its first row."""
    places = {
        float(row["reward"]): (slot, index)
        for slot, rows in enumerate(stream.rows)
        for index, row in enumerate(rows)
    }
    return [places[float(rewards[0])] for rewards in batch["reward"]]


def test_sampled_windows_equal_the_appended_rows_with_is_first_forced(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=3) as replay:
        stream = fill(replay, 33)
        sampler = sampler_of(replay, batch_size=8, batch_length=6, seed=0)
        for _ in range(20):
            batch = sampler.sample().arrays
            for b, (slot, start) in enumerate(windows_of(batch, stream)):
                expected = stream.window(slot, start, 6)
                for key in REST:
                    np.testing.assert_array_equal(batch[key][b], expected[key])
                expected["is_first"][0] = True
                np.testing.assert_array_equal(batch["is_first"][b], expected["is_first"])
        assert batch["image"].dtype == np.uint8
        assert batch["image"].shape == (8, 6, 20, 20, 3)


def test_forcing_is_first_leaves_the_stored_rows_alone(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=1) as replay:
        stream = fill(replay, 20)
        sampler = sampler_of(replay, batch_size=16, batch_length=1, seed=0)
        for _ in range(10):
            assert sampler.sample().arrays["is_first"].all()
        stored = replay.read(np.array([0]), np.array([0]), 20)["is_first"][0]
        assert stored.tolist() == [bool(row["is_first"]) for row in stream.rows[0]]
        assert not stored.all()


def test_every_window_of_every_slot_is_equally_likely(tmp_path: Path):
    with open_replay(tmp_path, capacity=48, num_envs=3) as replay:
        stream = fill(replay, 29)
        sampler = sampler_of(replay, batch_size=50, batch_length=5, seed=1)
        counts = {(slot, start): 0 for slot in range(3) for start in range(13, 25)}
        for _ in range(120):
            for window in windows_of(sampler.sample().arrays, stream):
                counts[window] += 1
        expected = 6000 / 36
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi_square < 57.3  # the 99 % quantile of chi-square with 35 degrees of freedom


def test_saved_generator_state_continues_the_same_draws(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=3) as replay:
        fill(replay, 20)
        sampler = sampler_of(replay, batch_size=4, batch_length=5, seed=3)
        sampler.sample()
        state = json.loads(json.dumps(sampler.save()))
        expected = [sampler.sample().arrays["reward"].copy() for _ in range(5)]
        resumed = sampler_of(replay, batch_size=4, batch_length=5, seed=99)
        resumed.load(state)
        for rewards in expected:
            np.testing.assert_array_equal(resumed.sample().arrays["reward"], rewards)


def test_a_batch_stays_as_it_is_while_the_next_one_is_drawn(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=3) as replay:
        fill(replay, 20)
        sampler = sampler_of(replay, batch_size=4, batch_length=5, seed=3)
        first = sampler.sample().arrays
        copies = {key: value.copy() for key, value in first.items()}
        second = sampler.sample().arrays
        assert not np.array_equal(first["reward"], second["reward"])
        for key, value in copies.items():
            np.testing.assert_array_equal(first[key], value)


def test_sampling_before_a_window_exists_says_how_many_steps_are_missing(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=3) as replay:
        fill(replay, 4)
        sampler = sampler_of(replay, batch_size=4, batch_length=5, seed=3)
        with pytest.raises(ReplayTooShort) as raised:
            sampler.sample()
        assert str(raised.value) == (
            "No window of 5 rows can be sampled yet: none of 3 env slots has more than 4 rows.\n"
            "Set run.prefill to at least 15 agent steps."
        )


def test_an_empty_replay_cannot_be_sampled(tmp_path: Path):
    with open_replay(tmp_path, capacity=60, num_envs=3) as replay:
        for source in (UniformWindows(replay, 5), EpisodeWindows(replay, 5, min_steps=5)):
            sampler = Sampler(replay, source, batch_size=4, seed=0)
            assert not sampler.ready
            with pytest.raises(ReplayTooShort, match="can be sampled"):
                sampler.sample()


def test_a_batch_length_that_no_slot_can_hold_is_refused_at_once(tmp_path: Path):
    with (
        open_replay(tmp_path, capacity=60, num_envs=3) as replay,
        pytest.raises(
            ReplayTooShort,
            match=r"batch_length 21 needs 21 rows .* each of 3 can hold 20",
        ),
    ):
        sampler_of(replay, batch_size=4, batch_length=21, seed=3)
