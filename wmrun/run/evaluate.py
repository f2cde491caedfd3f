"""Playing whole episodes with the policy's mode, on environments of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wmrun.agents.base import Agent
from wmrun.agents.carry import put_slots, select_slots
from wmrun.envs.driver import Driver, Transitions
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
    tally = _Tally(episodes, driver.num_envs, image_key)
    steps = 0
    agent.seed_evaluation(noise_seed)
    rows = driver.reset(seeds)
    carry = agent.initial_carry(driver.num_envs)
    while not should_stop():
        tally.add(rows)
        if tally.is_complete:
            return tally.evaluation()
        part = select_slots(carry, rows.slots)
        action, part = agent.act(rows.obs, rows.is_first, part, "eval")
        carry = put_slots(carry, rows.slots, part)
        rows = driver.step(action)
        for failure in rows.errors:
            say(f"evaluation: {failure}")
        steps += int((~rows.is_first).sum())
        watch(tally.num_finished, steps)
    return None


class _Tally:
    """The episodes that count, a fixed share in each slot, and the frames of the first one."""

    def __init__(self, episodes: int, num_envs: int, image_key: str | None) -> None:
        self._missing = np.full(num_envs, episodes // num_envs)
        self._missing[: episodes % num_envs] += 1
        self._meter = EpisodeMeter(num_envs)
        self._finished: list[Episode] = []
        self._frames: list[np.ndarray] = []
        self._image_key = image_key
        """None: no frames are wanted, or there are all."""

    @property
    def is_complete(self) -> bool:
        return not self._missing.any()

    @property
    def num_finished(self) -> int:
        return len(self._finished)

    def add(self, rows: Transitions) -> None:
        """Count what ends with `rows`."""
        if self._image_key is not None and rows.slots[0] == 0:  # they ascend
            self._frames.append(rows.obs[self._image_key][0].copy())
            if rows.is_last[0]:
                self._image_key = None
        for episode in self._meter.add(rows):
            if self._missing[episode.slot] > 0:
                self._missing[episode.slot] -= 1
                self._finished.append(episode)

    def evaluation(self) -> Evaluation:
        """Return what was counted."""
        return Evaluation(tuple(self._finished), np.stack(self._frames) if self._frames else None)
