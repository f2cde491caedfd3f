"""The echo env through a real server: every space there and back, and determinism."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.echo import EchoBackend
from wmrun_envserver.wire import messages, spaces, tensors

from tests.envserver.server.client import Client

N = 3


class EchoSession:
    """A session of the echo env that draws its actions from the action space."""

    def __init__(self, client: Client, *, seeds: list[int], **config: Any) -> None:
        self.client = client
        self.opened = client.open(
            env_id="echo", num_envs=N, seeds=seeds, env_config_json=json.dumps(config)
        )
        self.obs_leaves = spaces.leaves(spaces.decode_space(self.opened.observation_space))
        self.action_leaves = spaces.leaves(spaces.decode_space(self.opened.action_space))
        self._rng = np.random.default_rng(0)
        self._seq = 0

    def reset(self) -> messages.Rows:
        return self._call("Reset")

    def step(self) -> tuple[list[np.ndarray], messages.Rows]:
        actions = [self._batch(leaf.space) for leaf in self.action_leaves]
        return actions, self._call("Step", action=[tensors.encode(leaf) for leaf in actions])

    def _call(self, name: str, **fields: Any) -> messages.Rows:
        self._seq += 1
        session_id = self.opened.session_id
        return self.client.call(name, session_id=session_id, seq=self._seq, **fields).rows

    def _batch(self, space: spaces.LeafSpace) -> np.ndarray:
        return np.stack([spaces.sample(space, self._rng) for _ in range(N)])


@pytest.fixture
def client(connect):
    return connect(EchoBackend())


def test_every_kind_of_action_comes_back_as_an_observation(client):
    config = {"every_space": True, "length": 1000, "normalize_actions": False}
    session = EchoSession(client, seeds=[1, 2, 3], **config)
    session.reset()
    paths = [leaf.path for leaf in session.obs_leaves]
    for _ in range(20):
        sent, rows = session.step()
        received = dict(zip(paths, map(tensors.decode, rows.obs), strict=True))
        for leaf, action in zip(session.action_leaves, sent, strict=True):
            echo = received[f"action/{leaf.path}"]
            assert echo.dtype == action.dtype
            np.testing.assert_array_equal(echo, action)


def test_every_dtype_carries_the_ramp(client):
    session = EchoSession(client, seeds=[], every_space=True, normalize_actions=False)
    session.reset()
    session.step()
    _, rows = session.step()
    paths = [leaf.path for leaf in session.obs_leaves]
    received = dict(zip(paths, map(tensors.decode, rows.obs), strict=True))
    ramp = np.array([[2, 3, 4], [5, 6, 7]])
    for name in ("float16", "float64", "int8", "uint16", "uint64"):
        np.testing.assert_array_equal(received[f"ramp/{name}"], np.stack([ramp] * N))
    np.testing.assert_array_equal(received["ramp/bool"], np.stack([ramp % 2 == 1] * N))
    assert received["ramp/scalar"].tolist() == [2.0] * N
    assert received["ramp/empty"].shape == (N, 2, 0)
    assert received["ramp/text"].tolist() == ["step 2"] * N


def test_every_row_of_a_long_run_is_consistent(client):
    session = EchoSession(client, seeds=[1, 2, 3], length=7)
    previous = session.reset()
    for _ in range(50):
        _, rows = session.step()
        for slot in range(N):
            ended = previous.terminated[slot] or previous.truncated[slot]
            assert rows.is_first[slot] == ended
            assert rows.episode[slot] == previous.episode[slot] + ended
            steps = 0 if ended else previous.step_in_episode[slot] + 1
            assert rows.step_in_episode[slot] == steps
            assert rows.reward[slot] == steps
            assert rows.terminated[slot] == (steps == 7)
        for leaf, tensor in zip(session.obs_leaves, rows.obs, strict=True):
            spaces.check(leaf, tensors.decode(tensor))
        previous = rows


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(client):
    def run(seeds: list[int]) -> list[bytes]:
        session = EchoSession(client, seeds=seeds, length=4)
        rows = [session.reset(), *(session.step()[1] for _ in range(12))]
        return [row.SerializeToString(deterministic=True) for row in rows]

    assert run([5, 6, 7]) == run([5, 6, 7])
    assert run([5, 6, 7]) != run([5, 6, 8])


def test_a_time_limit_truncates_and_does_not_terminate(client):
    session = EchoSession(client, seeds=[], length=3, terminate=False)
    assert session.opened.max_episode_steps == 3
    session.reset()
    *_, (_, rows) = [session.step() for _ in range(3)]
    assert list(rows.truncated) == [True] * N
    assert list(rows.terminated) == [False] * N
