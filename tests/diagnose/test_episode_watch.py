"""Episodes added up from rows that may be of any slots."""

from __future__ import annotations

import numpy as np

from wmrun.diagnose.episode_watch import EpisodeWatch
from wmrun.envs.rows import Rows


def rows(slots: list[int], reward: list[float], first: list[bool], last: list[bool]) -> Rows:
    ended = np.array(last)
    return Rows(
        slots=np.array(slots),
        obs={},
        reward=np.array(reward),
        terminated=ended,
        truncated=np.zeros_like(ended),
        is_first=np.array(first),
    )


def names(watch: EpisodeWatch) -> list[str]:
    return [finding.name for finding in watch.findings()]


def test_lengths_and_returns_are_kept_apart_by_slot() -> None:
    watch = EpisodeWatch(2)
    watch.add(rows([0, 1], [0, 0], [True, True], [False, False]))
    watch.add(rows([1], [2.0], [False], [False]))
    watch.add(rows([0, 1], [1.0, 3.0], [False, False], [False, True]))
    assert (watch.lengths, watch.returns) == ([2], [5.0])
    assert names(watch) == []


def test_an_episode_that_a_restart_cut_off_is_not_counted() -> None:
    watch = EpisodeWatch(1)
    watch.add(rows([0], [0], [True], [False]))
    watch.add(rows([0], [7.0], [False], [False]))
    watch.add(rows([0], [0], [True], [False]))
    watch.add(rows([0], [1.0], [False], [True]))
    assert (watch.lengths, watch.returns) == ([1], [1.0])
    assert names(watch) == ["one-step-episodes"]


def test_rewards_that_never_differ_and_episodes_that_never_end_are_notes() -> None:
    watch = EpisodeWatch(1)
    watch.add(rows([0], [0], [True], [False]))
    for _ in range(3):
        watch.add(rows([0], [1.0], [False], [False]))
    assert names(watch) == ["constant-reward", "no-episode-ended"]
    assert all(finding.is_note for finding in watch.findings())


def test_a_reward_that_is_no_number_is_a_finding() -> None:
    watch = EpisodeWatch(1)
    watch.add(rows([0], [0], [True], [False]))
    watch.add(rows([0], [np.inf], [False], [True]))
    assert "nan-reward" in names(watch)


def test_a_reward_that_float32_cannot_hold_is_a_finding() -> None:
    watch = EpisodeWatch(1)
    watch.add(rows([0], [0], [True], [False]))
    watch.add(rows([0], [-1e300], [False], [True]))
    (finding,) = [found for found in watch.findings() if found.name == "too-large-reward"]
    assert finding.message == "a reward is -1e+300, which does not fit float32"
