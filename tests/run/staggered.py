"""A driver whose slots ask for decisions at different times, an agent that tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from tests.run.counting_agent import CountingAgent
from wmrun.agents.base import Entries, EntrySpec
from wmrun.envs.driver import Transitions

ACTION_SIZE = 2


class NumberedActions:
    """Random actions between 0 and 1, in the place of an `ActionAdapter`."""

    size = ACTION_SIZE

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, self.size)).astype(np.float32)


class StaggeredDriver:
    """Every decision takes 1 to 4 turns, some slots break and stay away for a while.

    `streams[slot]` lists the rows that were handed out, `answers[slot]` the action for each.
    An observation is `[slot, row of the episode, 0, 0]`.
    """

    def __init__(self, num_envs: int, seed: int, *, lengths: Sequence[int] = ()) -> None:
        """`lengths` are the agent steps of every episode of a slot; without it they are random."""
        self.num_envs = num_envs
        self.adapter = NumberedActions()
        self.streams: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]
        self.answers: list[list[np.ndarray]] = [[] for _ in range(num_envs)]
        self.cut_off = 0
        """Episodes that were cut off so far."""
        self._lengths = lengths
        self._rng = np.random.default_rng(seed)
        self._turn = 0
        self._due = np.zeros(num_envs, np.int64)
        self._broken: set[int] = set()
        self._asked = np.zeros(0, np.int64)

    def reset(self, seeds: Sequence[int] = ()) -> Transitions:
        """Begin an episode in every slot; the last one is not there yet."""
        self._due[:] = self._turn
        self._due[-1] += 3
        self._broken = set(range(self.num_envs))
        return self._rows()

    def step(self, action: np.ndarray) -> Transitions:
        self.step_begin(action)
        return self.step_end()

    def step_begin(self, action: np.ndarray) -> None:
        assert action.shape == (len(self._asked), ACTION_SIZE)
        for slot, answer in zip(self._asked.tolist(), action, strict=True):
            self.answers[slot].append(answer.copy())
            self._due[slot] = self._turn + self._rng.integers(1, 5)
            if not self._lengths and self._rng.random() < 0.05:
                self._due[slot] += 6
                self._broken.add(slot)

    def step_end(self) -> Transitions:
        self._turn = max(self._turn + 1, int(self._due.min()))
        return self._rows()

    def _rows(self) -> Transitions:
        self._asked = np.flatnonzero(self._due <= self._turn)
        cut_off = [
            slot
            for slot in sorted(self._broken & set(self._asked.tolist()))
            if self.streams[slot] and not self.streams[slot][-1]["is_last"]
        ]
        for slot in cut_off:
            self.streams[slot][-1]["is_last"] = True
        self.cut_off += len(cut_off)
        self._broken -= set(self._asked.tolist())
        rows = [self._next(slot) for slot in self._asked.tolist()]
        self._due[self._asked] = np.iinfo(np.int64).max  # until they are answered
        arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        obs = {"vector": arrays.pop("vector")}
        return Transitions(
            slots=self._asked, obs=obs, broken=tuple(cut_off), errors=(), info={}, **arrays
        )

    def _next(self, slot: int) -> dict[str, Any]:
        stream = self.streams[slot]
        is_first = not stream or bool(stream[-1]["is_last"])
        step = 0 if is_first else int(stream[-1]["vector"][1]) + 1
        ends = self._rng.random() < 0.2 if not self._lengths else step == self._lengths[slot]
        row = {
            "vector": np.array([slot, step, 0, 0], np.float32),
            "action": np.zeros(ACTION_SIZE, np.float32) if is_first else self.answers[slot][-1],
            "reward": np.float32(0 if is_first else 1),
            "is_first": np.bool_(is_first),
            "is_last": np.bool_(ends),
            "is_terminal": np.bool_(ends and self._rng.random() < 0.5),
        }
        stream.append(row)
        return dict(row)


class NumberingAgent(CountingAgent):
    """Answers slot s with 1000 (s + 1) + 1, + 2, …, which only its carry can tell it.

    It keeps its answer as an entry with the row.
    """

    replay_entries: EntrySpec = MappingProxyType({"answer": ((), "float32")})

    def initial_carry(self, num_envs: int) -> Any:
        return {"number": 1000 * (1 + np.arange(num_envs, dtype=np.float32))}

    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Any, mode: str
    ) -> tuple[np.ndarray, Any]:
        self.modes.append(mode)
        number = carry["number"] + 1
        np.testing.assert_array_equal(number // 1000, 1 + obs["vector"][:, 0])
        return np.repeat(number[:, None], self.action_size, axis=1), {"number": number}

    def entries(self, carry: Any) -> Entries:
        return {"answer": carry["number"]}
