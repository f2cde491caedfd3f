"""What an experiment file says about replay reaches the sampler and the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.replay.recording import episodes_of, places_of, play, spec
from tests.run.counting_agent import CountingAgent
from wmrun.config.load import load_config
from wmrun.config.schema import Config
from wmrun.launch.parts import build_replay, build_sampler, replay_size
from wmrun.replay.errors import ReplayTooLarge, ReplayTooShort
from wmrun.replay.sampler import Sampler
from wmrun.run.directory import RunDirectory

EXPERIMENT = """\
extends: dreamer_v2
name: walk
env: {task: x, num_envs: 2}
run: {env_steps: 2_000}
replay: {capacity: 400, batch_size: 64, batch_length: 5}
"""


@pytest.fixture
def configured(tmp_path: Path):
    def load(*overrides: str) -> Config:
        (tmp_path / "walk.yaml").write_text(EXPERIMENT)
        return load_config(tmp_path / "walk.yaml", overrides)

    return load


def starts_drawn(config: Config, folder: Path, *, context: int = 0) -> list[int]:
    """Play two episodes of 12 rows in each slot, and return where a batch's windows begin."""
    agent = CountingAgent(2, context=context)
    with build_replay(config, spec(), agent, RunDirectory(folder)) as replay:
        play(replay, episodes_of([12, 12], [12, 12]), 24)
        sampler: Sampler = build_sampler(config, replay, agent)
        rewards = sampler.sample().arrays["reward"]
        assert rewards.shape == (64, context + 5)
        return [start for _, start in places_of(rewards)]


def test_the_preset_of_v2_draws_inside_episodes_without_favouring_ends(configured, tmp_path: Path):
    starts = starts_drawn(configured(), tmp_path)
    assert {start % 12 for start in starts} == set(range(8))
    assert sum(start % 12 == 7 for start in starts) < 20  # an eighth of 64 is 8


def test_prioritised_ends_are_drawn_more_often(configured, tmp_path: Path):
    starts = starts_drawn(configured("replay.prioritize_ends=true"), tmp_path)
    assert sum(start % 12 == 7 for start in starts) > 20  # 6 of 13 of 64 are 30


def test_windows_cross_episodes(configured, tmp_path: Path):
    starts = starts_drawn(configured("replay.sampler=windows"), tmp_path)
    assert {start for start in starts if 7 < start < 12}


def test_online_windows_come_first_with_the_context_of_the_agent(configured, tmp_path: Path):
    config = configured("replay.sampler=windows", "replay.online=true")
    starts = starts_drawn(config, tmp_path, context=1)
    assert starts[:8] == [0, 0, 6, 6, 12, 12, 18, 18]


def test_a_sequence_and_its_context_must_fit_in_a_slot(configured, tmp_path: Path):
    config = configured("replay.sampler=windows", "replay.capacity=10")
    agent = CountingAgent(2, context=1)
    with (
        build_replay(config, spec(), agent, RunDirectory(tmp_path)) as replay,
        pytest.raises(ReplayTooShort, match=r"batch_length 5 plus 1 of context needs 6 rows"),
    ):
        build_sampler(config, replay, agent)


def test_episodes_that_can_never_hold_a_sequence_are_refused_before_training(
    configured, tmp_path: Path
):
    agent = CountingAgent(2)
    with build_replay(configured(), spec(), agent, RunDirectory(tmp_path)) as replay:
        build_sampler(configured(), replay, agent, longest_episode=5)
        build_sampler(configured("replay.sampler=windows"), replay, agent, longest_episode=4)
        with pytest.raises(ReplayTooShort, match=r"episodes of x end after 4 agent steps"):
            build_sampler(configured(), replay, agent, longest_episode=4)


def test_the_size_of_a_replay_counts_what_the_agent_keeps_with_its_rows(configured):
    config = configured("run.checkpoint_every=0")
    without = replay_size(config, spec(), CountingAgent(2)).bytes_needed
    with_entries = replay_size(config, spec(), CountingAgent(2, context=1)).bytes_needed
    # 200 rows and a stride of 12 in each of 2 slots, two float32 each
    assert with_entries - without == 2 * (200 + 12) * 8


def test_entries_that_do_not_fit_on_the_disk_are_refused(configured, tmp_path: Path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1_000_000, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    config, agent = configured("run.checkpoint_every=0"), CountingAgent(2)
    build_replay(config, spec(), agent, RunDirectory(tmp_path / "fits")).close()
    agent.replay_entries = {"deter": ((1000,), "float32")}
    with pytest.raises(ReplayTooLarge):
        build_replay(config, spec(), agent, RunDirectory(tmp_path))
