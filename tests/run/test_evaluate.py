"""Which episodes an evaluation counts, on a scripted driver with known episode lengths."""

from __future__ import annotations

import numpy as np

from tests.run.counting_agent import CountingAgent
from wmrun.envs.driver import Transitions
from wmrun.run.evaluate import evaluate

LENGTHS = (2, 5)
"""Agent steps of every episode of slot 0 and slot 1; every step has reward 1."""


class ScriptedDriver:
    num_envs = len(LENGTHS)

    def reset(self, seeds=()):
        self.seeds = list(seeds)
        self.step_in_episode = np.zeros(self.num_envs, int)
        return self.rows()

    def step(self, action):
        over = self.step_in_episode == LENGTHS
        self.step_in_episode = np.where(over, 0, self.step_in_episode + 1)
        return self.rows()

    def rows(self):
        is_first = self.step_in_episode == 0
        is_last = self.step_in_episode == np.array(LENGTHS)
        image = np.tile(self.step_in_episode[:, None, None, None], (1, 1, 1, 3)).astype(np.uint8)
        return Transitions(
            slots=np.arange(self.num_envs),
            obs={"image": image},
            action=np.zeros((self.num_envs, 1), np.float32),
            reward=np.where(is_first, 0, 1).astype(np.float32),
            is_first=is_first,
            is_last=is_last,
            is_terminal=is_last,
            broken=(),
            errors=(),
            info={},
        )


def test_every_slot_plays_its_share_so_that_short_episodes_are_not_favoured():
    evaluation = evaluate(CountingAgent(1), ScriptedDriver(), episodes=5)
    assert sorted(evaluation.returns) == [2, 2, 2, 5, 5]
    metrics = evaluation.metrics()
    assert metrics["eval/return_mean"] == (2 * 3 + 5 * 2) / 5
    assert (metrics["eval/return_min"], metrics["eval/return_max"]) == (2, 5)


def test_the_policy_is_asked_for_its_mode():
    agent = CountingAgent(1)
    evaluate(agent, ScriptedDriver(), episodes=2)
    assert set(agent.modes) == {"eval"}


def test_frames_are_those_of_the_first_episode_of_slot_0_with_both_ends():
    evaluation = evaluate(CountingAgent(1), ScriptedDriver(), episodes=4, image_key="image")
    assert evaluation.frames[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_seeds_begin_the_first_episodes_and_the_agents_stream():
    driver, agent = ScriptedDriver(), CountingAgent(1)
    evaluate(agent, driver, episodes=2, seeds=[7, 8], noise_seed=9)
    assert driver.seeds == [7, 8]
    assert agent.evaluation_seed == 9


def test_an_evaluation_that_is_told_to_stop_returns_nothing():
    assert (
        evaluate(CountingAgent(1), ScriptedDriver(), episodes=2, should_stop=lambda: True) is None
    )
