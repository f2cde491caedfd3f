"""context.npz: the rows that are trained on, and the state that they go on from.

Official rows hold the action taken after their observation, ours the one that led to it. The
original carries the last state on where a sequence goes on from the one before (consec); ours has
written this state to the context row, whence both read it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.golden.archives import Archive, archive, close
from tests.golden.v3_agents import CONTINUOUS, VECTOR, dreamer
from wmrun.agents.dreamer_v3 import DreamerV3

FLAGS = ("is_first", "is_last", "is_terminal")
TRAINED = ("vector", "reward", "stepid", *FLAGS)


@pytest.fixture
def data() -> Archive:
    return archive("v3/context")


@pytest.fixture
def agent() -> DreamerV3:
    return dreamer(VECTOR, CONTINUOUS)


def test_trained_rows_and_their_start(data: Archive, agent: DreamerV3) -> None:
    state, rows = agent._split_context(agent._prepare(_batch(data)))
    assert state is not None
    close(state.deter, data["out/deter"])
    close(state.stoch.unflatten(-1, (4, 5)), data["out/stoch"])
    close(rows["action"], data["out/prevact"])
    for name in TRAINED:
        close(rows[name], data[f"out/{name}"])


def test_the_action_of_the_training_carry_is_not_used(data: Archive) -> None:
    after_context = data["out/prevact"][:, 0]
    close(torch.tensor(data["data/action"][:, 0]), after_context)
    assert not np.isclose(data["carry/action"], after_context).all(-1).any()


def _batch(data: Archive) -> dict[str, np.ndarray]:
    carried = (data["data/consec"][:, 0] == 1)[:, None]
    deter, stoch = data["data/dyn/deter"].copy(), data["data/dyn/stoch"].copy()
    deter[:, 0] = np.where(carried, data["carry/deter"], deter[:, 0])
    stoch[:, 0] = np.where(carried[..., None], data["carry/stoch"], stoch[:, 0])
    # The action that led to the context row is not in the archive, and not used.
    before = np.full_like(data["data/action"][:, :1], np.nan)
    action = np.concatenate([before, data["data/action"][:, :-1]], 1)
    entries = {"deter": deter, "stoch": stoch.argmax(-1), "action": action}
    return {name: data[f"data/{name}"] for name in TRAINED} | entries
