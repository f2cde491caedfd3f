"""A Unity scene whose agents of one behaviour are the slots of a simulator."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import numpy as np
from mlagents_envs.base_env import ActionTuple

from wmrun_envserver.backends.base import Batch, ConfigError, NeedsPartialBatch, VectorEnv
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.unity_behavior import BehaviorSpaces
from wmrun_envserver.backends.unity_channels import SceneChannels
from wmrun_envserver.backends.unity_environment import PlayerEnvironment
from wmrun_envserver.backends.unity_options import UnityOptions
from wmrun_envserver.backends.unity_rows import (
    AgentRow,
    batch_of,
    decision_rows,
    terminal_rows,
)
from wmrun_envserver.backends.unity_slots import AgentSlots, TooManyAgents
from wmrun_envserver.backends.unity_source import PlayerSource

# A behaviour whose agents appear later than this is taken for a misspelt one.
_LATE_STEPS = 1000


class UnityScene(VectorEnv):
    """One player, or the Editor.

    A row is a decision that an agent asks for, or the end of its episode. The player moves once
    every agent that asked was answered, and other behaviours act with zeros. An agent that ended
    asks again in an episode of its own: the first decision of that is the row of its reset.

    Without `partial`, the rows of all slots must come together: where some agents ended while
    others go on, those that ended begin their episode after one action of zeros. Agents that ask at
    different times, or that appear later or vanish, raise `NeedsPartialBatch`.

    A reset of slots in the middle of an episode resets the scene, and so must name all that are.
    """

    def __init__(
        self,
        source: PlayerSource,
        options: UnityOptions,
        num_slots: int,
        *,
        seed: int,
        partial: bool,
    ) -> None:
        """Start the player and its first episodes.

        Raises `ConfigError` where the scene is not what the options say, `NeedsPartialBatch`, and
        `UnityEnvironmentException` where the player fails.
        """
        self._options = options
        self._partial = partial
        self._asked: list[int] = []
        """Slots in the order in which their agents asked, as the actions must be."""
        self._answers: dict[int, list[np.ndarray]] = {}
        self._steps = [0] * num_slots
        self._channels = SceneChannels(options, seed)
        self._env = PlayerEnvironment(
            source,
            seed=seed,
            start_timeout_s=options.start_timeout_s,
            timeout_s=options.timeout_s,
            no_graphics=options.no_graphics,
            side_channels=self._channels.all,
        )
        try:
            self._begin(num_slots)
        except BaseException:
            self.close()
            raise

    def advance(
        self,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> Batch:
        if not self._slots.running.isdisjoint(reset):
            self._reset_scene(step, reset)
        for row, slot in enumerate(step):
            self._answers[slot] = [leaf[row] for leaf in action]
        self._slots.wait_for([*step, *reset])
        if self._partial:
            self._move_until_answers_lack()
        else:
            self._move_until_all_have_rows([*step, *reset])
        ready = self._slots.ready()
        rows = [self._limited(slot) for slot in ready]
        stats = self._channels.stats() if rows else {}
        return batch_of(ready, rows, self.observation_space, stats)

    def close(self) -> None:
        self._env.close()

    def _begin(self, num_slots: int) -> None:
        self._env.reset()
        self._behavior = self._find_behavior()
        spec = self._env.behavior_specs[self._behavior]
        self._spaces = BehaviorSpaces(self._behavior, spec, self._options.common)
        self.observation_space = self._spaces.observation_space
        self.action_space = self._spaces.action_space
        self._slots = AgentSlots(num_slots, self._behavior)
        try:
            self._hear()
        except TooManyAgents as error:
            raise ConfigError(str(error), "agents") from None
        if not self._partial:
            self._check_lockstep()

    def _find_behavior(self) -> str:
        wanted = self._options.behavior
        for _ in range(_LATE_STEPS):
            names = sorted(self._env.behavior_specs)
            if wanted is None and names:
                return _only(names)
            if wanted in names:
                return str(wanted)
            self._env.step()
        hint = did_you_mean(wanted or "", names)
        raise ConfigError(
            f"no agent of behavior {wanted!r} asked in {_LATE_STEPS} steps of the scene.{hint} "
            f"Its behaviors: {', '.join(names) or 'none'}",
            "behavior",
        )

    def _check_lockstep(self) -> None:
        patience = self._patience()
        while not self._asked:
            patience.check()
            self._move()
        if len(self._asked) < len(self._slots):
            raise NeedsPartialBatch(
                f"{len(self._asked)} of {len(self._slots)} agents of behavior {self._behavior!r} "
                "ask in the first message of the scene: either the option agents is more than it "
                "has, or some appear later or ask at other times"
            )

    def _reset_scene(self, step: Sequence[int], reset: Sequence[int]) -> None:
        others = sorted(self._slots.running.difference(reset))
        if step or others:
            raise RuntimeError(
                f"slots {sorted(reset)} cannot be reset while slots {sorted({*step, *others})} of "
                "the same player go on: Unity resets a scene as a whole"
            )
        self._slots.restart()
        self._env.reset()
        self._answers.clear()
        self._hear()

    def _move_until_answers_lack(self) -> None:
        patience = self._patience()
        while not self._slots.ready() and not self._unanswered():
            patience.check()
            self._move()

    def _move_until_all_have_rows(self, named: Sequence[int]) -> None:
        patience = self._patience()
        while any(not self._slots.has_row(slot) for slot in named):
            for slot in self._unanswered():
                if slot not in named or not self._slots.take_back_first(slot):
                    self._refuse_lockstep(named)
                self._answers[slot] = self._spaces.rest()
            patience.check()
            self._move()

    def _patience(self) -> _Patience:
        return _Patience(self._options.timeout_s, self._behavior)

    def _refuse_lockstep(self, named: Sequence[int]) -> None:
        behind = [slot for slot in named if not self._slots.has_row(slot)]
        raise NeedsPartialBatch(
            f"the agents of the player's slots {behind} did not ask together with the others, or "
            "are gone"
        )

    def _unanswered(self) -> list[int]:
        return [slot for slot in self._asked if slot not in self._answers]

    def _move(self) -> None:
        if self._asked:
            actions = self._spaces.act([self._answers[slot] for slot in self._asked])
            self._env.set_actions(self._behavior, ActionTuple(*actions))
        self._env.step()
        self._answers.clear()
        self._hear()

    def _hear(self) -> None:
        """Take in the message that the player sent last: who ended, then who asks."""
        if self._options.behavior is None:
            _only(sorted(self._env.behavior_specs))
        decisions, terminals = self._env.get_steps(self._behavior)
        for row in terminal_rows(terminals, self._spaces):
            self._slots.end(row)
        self._asked = [self._slots.ask(row) for row in decision_rows(decisions, self._spaces)]

    def _limited(self, slot: int) -> AgentRow:
        """Hand out the next row of a slot, truncated where the time limit says so.

        Unity knows nothing of that limit: the reset that follows finds the slot running.
        """
        row = self._slots.take(slot)
        self._steps[slot] = 0 if row.is_first else self._steps[slot] + 1
        limit = self._options.common.time_limit
        return row._replace(truncated=True) if self._steps[slot] == limit else row


class _Patience:
    """How long a scene may go on without a row of the agents that matter here."""

    def __init__(self, seconds: float, behavior: str) -> None:
        self._seconds = seconds
        self._behavior = behavior
        self._deadline = monotonic() + seconds

    def check(self) -> None:
        """Raise `TimeoutError` once it is over."""
        if monotonic() > self._deadline:
            raise TimeoutError(
                f"no agent of behavior {self._behavior!r} asked for {self._seconds:g} s (option "
                "timeout_s), though the scene goes on"
            )


def _only(behaviors: Sequence[str]) -> str:
    if len(behaviors) > 1:
        raise ConfigError(
            f"the scene has several behaviors: set the option behavior to one of "
            f"{', '.join(behaviors)}; the others act with zeros",
            "behavior",
        )
    return behaviors[0]
