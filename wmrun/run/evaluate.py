"""Playing whole episodes with the policy's mode, on environments of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wmrun.agents.base import Agent
from wmrun.agents.carry import put_slots, select_slots
from wmrun.envs.driver import Driver
from wmrun.run.episodes import Episode, EpisodeMeter


@dataclass(frozen=True)
class Evaluation:
    """Episodes in the order in which they ended, and the frames of slot 0's first episode."""

    episodes: tuple[Episode, ...]
    frames: np.ndarray | None = field(default=None, repr=False)
    """uint8 `[T, H, W, C]`, if frames were asked for and the observation has an image."""

    @property
    def returns(self) -> list[float]:
        return [episode.episode_return for episode in self.episodes]

    def metrics(self) -> dict[str, float]:
        returns = np.asarray(self.returns)
        return {
            "eval/return_mean": float(returns.mean()),
            "eval/return_std": float(returns.std()),
            "eval/return_min": float(returns.min()),
            "eval/return_max": float(returns.max()),
            "eval/length_mean": float(np.mean([episode.length for episode in self.episodes])),
        }


def evaluate(
    agent: Agent,
    driver: Driver,
    *,
    episodes: int,
    seeds: Sequence[int] = (),
    noise_seed: int = 0,
    image_key: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, int], None] = lambda finished, steps: None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation | None:
    """Play `episodes` episodes, a fixed share in each slot, so that short ones are not favoured.

    `seeds`, one per slot, begin the first episodes, `noise_seed` whatever the agent draws. With
    `image_key` the frames of slot 0's first episode are kept. `watch` hears at every step how many
    episodes are finished and how many agent steps were taken, `say` what failed on the way. Nothing
    is stored in any replay.
    Returns None when `should_stop` became true first.
    """
    num_envs = driver.num_envs
    quota = np.full(num_envs, episodes // num_envs)
    quota[: episodes % num_envs] += 1
    meter = EpisodeMeter(num_envs)
    finished: list[Episode] = []
    frames: list[np.ndarray] = []
    steps = 0
    recording = image_key is not None

    agent.seed_evaluation(noise_seed)
    rows = driver.reset(seeds)
    carry = agent.initial_carry(num_envs)
    while not should_stop():
        if recording and rows.slots[0] == 0:  # they ascend
            frames.append(rows.obs[image_key or ""][0].copy())
            recording = not rows.is_last[0]
        for episode in meter.add(rows):
            if quota[episode.slot] > 0:
                quota[episode.slot] -= 1
                finished.append(episode)
        if not quota.any():
            return Evaluation(tuple(finished), np.stack(frames) if frames else None)
        part = select_slots(carry, rows.slots)
        action, part = agent.act(rows.obs, rows.is_first, part, "eval")
        carry = put_slots(carry, rows.slots, part)
        rows = driver.step(action)
        for failure in rows.errors:
            say(f"evaluation: {failure}")
        steps += int((~rows.is_first).sum())
        watch(len(finished), steps)
    return None
