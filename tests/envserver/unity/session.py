"""A session of a Unity server, row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from wmrun_envserver.wire import messages, spaces, tensors

from tests.envserver.server.client import Client
from tests.envserver.unity.standin.scene import Sight


class Row(NamedTuple):
    """One row of a reply; `sight` is what the vector sensor shows."""

    slot: int
    sight: Sight
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    is_first: bool = False

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated


def first(slot: int, sight: Sight) -> Row:
    """Return the row that begins an episode."""
    return Row(slot, sight, is_first=True)


@dataclass
class Reply:
    """The rows of one call, their observations by leaf, and the messages they came in."""

    rows: list[Row]
    obs: dict[str, np.ndarray]
    message: messages.Rows

    def info(self, key: str) -> dict[int, float]:
        """Return the values of an info column by slot."""
        for column in self.message.info:
            if column.key == key:
                values = tensors.decode(column.values).tolist()
                slots = [self.message.slot[row] for row in column.rows]
                return dict(zip(slots, values, strict=True))
        return {}


class Session:
    """Opens a session, and answers its rows with one action for all."""

    def __init__(
        self,
        client: Client,
        env_id: str,
        num_envs: int = 1,
        *,
        partial: bool = False,
        seeds: Sequence[int] = (),
        autoreset: int = messages.NEXT_STEP,
        **options: Any,
    ) -> None:
        """`options` are those of the env; `agents` is left to be `num_envs`."""
        self.client = client
        options.setdefault("agents", num_envs)
        self.opened = client.open(
            env_id=env_id,
            num_envs=num_envs,
            autoreset=autoreset,
            seeds=seeds,
            env_config_json=json.dumps(options),
            want_capabilities=["partial_batch"] if partial else [],
        )
        assert list(self.opened.capabilities) == (["partial_batch"] if partial else [])
        self.observation_space = spaces.decode_space(self.opened.observation_space)
        self.action_space = spaces.decode_space(self.opened.action_space)
        self._leaves = spaces.leaves(self.observation_space)
        self.seq = 0

    def reset(self, slots: Sequence[int] = ()) -> Reply:
        return self._mutate("Reset", slots=slots)

    def step(self, action: float | Sequence[Any] = 0.5, slots: Sequence[int] = ()) -> Reply:
        """Step slots, each with `action`: one value per leaf, or one for every number."""
        count = len(slots) or self.opened.num_envs
        return self._mutate("Step", slots=slots, action=self.encoded(action, count))

    def encoded(self, action: float | Sequence[Any], count: int) -> list[messages.Tensor]:
        """Return `count` rows of `action`, one tensor per leaf of the action space."""
        leaves = [leaf.space for leaf in spaces.leaves(self.action_space)]
        values = action if isinstance(action, Sequence) else [action] * len(leaves)
        return [
            tensors.encode(np.array(np.broadcast_to(value, (count, *leaf.shape)), leaf.dtype))
            for leaf, value in zip(leaves, values, strict=True)
        ]

    def episodes(self, calls: int, action: float | Sequence[Any] = 0.5) -> list[Row]:
        """Reset, then answer what asks `calls` times; return all rows as they came.

        Every slot is named where the session has no partial batches, else those with a row.
        """
        reply = self.reset()
        rows = list(reply.rows)
        partial = "partial_batch" in self.opened.capabilities
        for _ in range(calls):
            reply = self.step(action, [row.slot for row in reply.rows] if partial else ())
            rows += reply.rows
        return rows

    def close(self) -> None:
        self.client.call("CloseSession", session_id=self.opened.session_id)

    def _mutate(self, name: str, **fields: Any) -> Reply:
        reply = self.client.call(
            name, session_id=self.opened.session_id, seq=self.seq + 1, **fields
        )
        self.seq += 1
        return self._read(reply.rows)

    def _read(self, rows: messages.Rows) -> Reply:
        obs: Mapping[str, np.ndarray] = {
            leaf.path: tensors.decode(tensor)
            for leaf, tensor in zip(self._leaves, rows.obs, strict=True)
        }
        for leaf in self._leaves:
            spaces.check(leaf, obs[leaf.path])
        there = [i for i, status in enumerate(rows.status) if status != messages.SLOT_ABSENT]
        vector = obs.get("Vector", np.full((len(rows.slot), 4), np.nan))
        return Reply(
            [
                Row(
                    rows.slot[i],
                    Sight(*vector[i].tolist()),
                    rows.reward[i],
                    rows.terminated[i],
                    rows.truncated[i],
                    rows.is_first[i],
                )
                for i in there
            ],
            dict(obs),
            rows,
        )
