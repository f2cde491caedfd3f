"""A session of the server under test, which counts its own seq."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from wmrun_envserver.conformance.actions import sample_actions
from wmrun_envserver.conformance.check import Skip, Unmet, equal
from wmrun_envserver.conformance.peer import Peer, refusal
from wmrun_envserver.conformance.rows import Row, read_rows
from wmrun_envserver.wire import messages, spaces, tensors


class Session:
    """Slots that are reset and stepped; actions are random unless given."""

    def __init__(self, peer: Peer, opened: messages.OpenSessionReply) -> None:
        """Decode the spaces; raises `Unmet` where they cannot be."""
        self.peer = peer
        self.opened = opened
        self.id = opened.session_id
        self.seq = 0
        self.rng = np.random.default_rng(0)
        self.observation = leaves_of(opened.observation_space, "observation_space")
        self.action = leaves_of(opened.action_space, "action_space")
        self.last: dict[int, Row] = {}
        """The newest row of each slot."""

    @property
    def num_envs(self) -> int:
        """How many slots there are."""
        return self.opened.num_envs

    def resetting(
        self, slots: Sequence[int] = (), seeds: Sequence[int] = (), seq: int | None = None
    ) -> messages.ResetRequest:
        """Return the request of a Reset, the next one unless `seq` says otherwise."""
        seq = self.seq + 1 if seq is None else seq
        return messages.ResetRequest(session_id=self.id, seq=seq, slots=slots, seeds=seeds)

    def stepping(
        self,
        action: Sequence[np.ndarray] | None = None,
        slots: Sequence[int] = (),
        seq: int | None = None,
    ) -> messages.StepRequest:
        """Return the request of a Step; `action` has one array `[slots, …leaf shape]` per leaf."""
        seq = self.seq + 1 if seq is None else seq
        if action is None:
            action = self.sample(slots)
        encoded = [tensors.encode(np.asarray(array)) for array in action]
        return messages.StepRequest(session_id=self.id, seq=seq, slots=slots, action=encoded)

    def sample(self, slots: Sequence[int] = ()) -> list[np.ndarray]:
        """Return random actions that the slots may take now, one array per leaf."""
        named = list(slots) or list(range(self.num_envs))
        rows = [self.last.get(slot) for slot in named]
        return sample_actions(self.action, self.observation, rows, self.rng)

    def reset(self, slots: Sequence[int] = (), seeds: Sequence[int] = ()) -> list[Row]:
        """Reset slots and return their rows."""
        return self.take("Reset", self.resetting(slots, seeds))

    def reset_some(self, slots: Sequence[int]) -> list[Row]:
        """Reset slots while others are in an episode.

        Raises `Skip` where the server refuses that: a simulator may reset its slots only together.
        """
        request = self.resetting(slots)
        try:
            reply = self.peer.invoke("Reset", request)
        except grpc.RpcError as error:
            refusal("Reset of some slots", error, "UNIMPLEMENTED", reason="UNSUPPORTED")
            raise Skip(str(error.details())) from None
        return self.accept("Reset", reply)

    def step(
        self, action: Sequence[np.ndarray] | None = None, slots: Sequence[int] = ()
    ) -> list[Row]:
        """Step once and return the rows."""
        return self.take("Step", self.stepping(action, slots))

    def take(self, name: str, request: Any) -> list[Row]:
        """Make the next mutating call and return its rows."""
        return self.accept(name, self.peer.call(name, request))

    def accept(self, name: str, reply: messages.StepReply) -> list[Row]:
        """Return the rows of the reply to the next mutating call."""
        where = f"{name} {self.seq + 1}"
        equal(f"{where}, seq", reply.seq, self.seq + 1)
        self.seq += 1
        rows = read_rows(reply.rows, self.observation, where)
        self.last.update((row.slot, row) for row in rows)
        return rows

    def heartbeat(self, timeout_s: float | None = None) -> messages.HeartbeatReply:
        """Say that the client lives."""
        request = messages.HeartbeatRequest(session_id=self.id)
        reply: messages.HeartbeatReply = self.peer.call("Heartbeat", request, timeout_s)
        return reply

    def close(self) -> None:
        """Close the session; raises `Unmet` where that fails."""
        self.peer.call("CloseSession", messages.CloseSessionRequest(session_id=self.id))


def leaves_of(message: messages.Space, where: str) -> tuple[spaces.Leaf, ...]:
    """Return the leaves of a space from the wire; raises `Unmet` where it contradicts itself."""
    try:
        return spaces.leaves(spaces.decode_space(message))
    except (spaces.SpaceError, tensors.TensorError) as error:
        raise Unmet(f"OpenSession, {where}", "a space that can be decoded", error) from None
