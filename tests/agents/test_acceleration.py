"""Precision and compilation change the speed of an update, not what it computes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.agents.small import random_batch, small_dreamer
from wmrun.agents.acceleration import Acceleration
from wmrun.agents.dreamer_v2 import DreamerV2

EAGER = Acceleration()
BFLOAT16 = Acceleration(bfloat16=True)
COMPILED = Acceleration(compiled=True, may_fall_back=False)
FALLBACK = """
from tests.agents.test_acceleration import EAGER, updated
from wmrun.agents.acceleration import Acceleration
assert updated(Acceleration(compiled=True)) == updated(EAGER)
"""


def updated(acceleration: Acceleration) -> dict[str, float]:
    """Return the metrics of a second update."""
    agent = small_dreamer()
    agent.accelerate(acceleration)
    agent.update(random_batch(seed=1))
    return agent.update(random_batch(seed=2)).metrics


def test_bfloat16_changes_losses_by_its_rounding_only() -> None:
    exact, rounded = updated(EAGER), updated(BFLOAT16)
    for name in ("loss/vector", "loss/reward", "loss/kl", "loss/critic"):
        assert rounded[name] == pytest.approx(exact[name], rel=0.02, abs=0.02), name
    assert rounded != exact


def test_bfloat16_keeps_parameters_latents_and_actions_in_float32() -> None:
    agent: DreamerV2 = small_dreamer()
    agent.accelerate(BFLOAT16)
    batch = random_batch()
    agent.update(batch)
    obs = {"vector": batch["vector"][:, 0]}
    action, carry = agent.act(obs, batch["is_first"][:, 0], agent.initial_carry(2), "train")
    assert action.dtype == "float32"
    assert carry.state.deter.dtype == carry.state.stoch.dtype == torch.float32
    assert {t.dtype for name, t in agent.save().items() if "adam" in name} == {
        torch.float32,
        torch.int64,
    }


@pytest.mark.slow
def test_compiled_and_eager_updates_agree() -> None:
    compiled, eager = updated(COMPILED), updated(EAGER)
    assert compiled == pytest.approx(eager, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_without_a_compiler_networks_go_on_as_they_are() -> None:
    blind = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FALLBACK], env=blind, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
