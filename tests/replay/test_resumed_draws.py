"""A sampler that was saved and loaded draws what it would have drawn without that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wmrun.replay.episodes import EpisodeWindows
from wmrun.replay.sampler import Batch, Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import OnlineWindows, UniformWindows

from .recording import episodes_of, open_replay, play

LENGTHS = np.random.default_rng(0).integers(3, 20, (3, 40)).tolist()
EPISODES = episodes_of(*LENGTHS, cut=[(0, 2), (1, 5), (2, 0)])

MakeSampler = Callable[[Replay], Sampler]


def windows(replay: Replay) -> Sampler:
    return Sampler(replay, UniformWindows(replay, 5), batch_size=4, seed=1)


def episodes(replay: Replay) -> Sampler:
    return Sampler(replay, EpisodeWindows(replay, 5, min_steps=5), batch_size=4, seed=1)


def ends(replay: Replay) -> Sampler:
    source = EpisodeWindows(replay, 5, min_steps=5, prioritize_ends=True)
    return Sampler(replay, source, batch_size=4, seed=1)


def online(replay: Replay) -> Sampler:
    return Sampler(
        replay,
        UniformWindows(replay, 6),
        batch_size=4,
        seed=1,
        context=1,
        online=OnlineWindows(replay, 6),
    )


def draw(sampler: Sampler, replay: Replay, until: int) -> list[Batch]:
    """Play on and draw a batch after each row."""
    batches = []
    for stop in range(replay.stop.max(), until):
        play(replay, EPISODES, stop + 1)
        arrays, slots, starts = sampler.sample()
        copies = {key: value.copy() for key, value in arrays.items()}
        batches.append(Batch(copies, slots.copy(), starts.copy()))
    return batches


@pytest.mark.parametrize("stop", [70, 150])
@pytest.mark.parametrize("make", [windows, episodes, ends, online])
def test_draws_go_on_as_if_nothing_had_happened(tmp_path: Path, make: MakeSampler, stop: int):
    """At the first stop the replay of 3 x 100 rows is still filling, at the second it wrapped."""
    with open_replay(tmp_path / "uninterrupted", 300, 3) as replay:
        sampler = make(replay)
        play(replay, EPISODES, 40)
        draw(sampler, replay, stop)
        state = json.loads(json.dumps({"replay": replay.save(), "sampler": sampler.save()}))
        shutil.copytree(tmp_path / "uninterrupted", tmp_path / "resumed")
        expected = draw(sampler, replay, stop + 40)
    with open_replay(tmp_path / "resumed", 300, 3) as replay:
        sampler = make(replay)
        replay.load(state["replay"])
        sampler.load(state["sampler"])
        for batch, like in zip(draw(sampler, replay, stop + 40), expected, strict=True):
            np.testing.assert_array_equal(batch.slots, like.slots)
            np.testing.assert_array_equal(batch.starts, like.starts)
            for key, value in like.arrays.items():
                np.testing.assert_array_equal(batch.arrays[key], value, key)


def test_a_live_sampler_forgets_episodes_that_going_back_took_away(tmp_path: Path):
    with open_replay(tmp_path, 300, 3) as replay:
        sampler = episodes(replay)
        play(replay, EPISODES, 40)
        state = {"replay": replay.save(), "sampler": sampler.save()}
        draw(sampler, replay, 80)
        replay.load(state["replay"])
        sampler.load(state["sampler"])
        for _ in range(50):
            assert (sampler.sample().starts + 5 <= 40).all()
