"""streamnorm_schedule.npz of Dreamer V2: exploration; reward norms and schedules as configured."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.golden.agents import CONTINUOUS, VECTORS, dreamer
from tests.golden.archives import archive, close
from wmrun.agents.exploration import Schedule, disturbed, replaced

TOLERANCE = 2e-6
AMOUNT = 0.2
"""The share of discrete actions that are random in the archive."""


def test_noise_on_continuous_actions() -> None:
    data = archive("streamnorm_schedule")
    noisy = disturbed(data.tensor("noise.action"), data.tensor("noise.eps"), 0.3)
    close(noisy, data["noise.out"], TOLERANCE)


def test_chances_of_discrete_actions() -> None:
    """Ours are the average over the random actions that may replace what was chosen."""
    data = archive("streamnorm_schedule")
    chosen = data.tensor("noise.onehot")
    rows, classes = chosen.shape
    others = [F.one_hot(torch.full((rows,), c), classes).float() for c in range(classes)]
    random, kept = (
        torch.stack([replaced(chosen, o, torch.full((rows,), c), AMOUNT) for o in others]).mean(0)
        for c in (0.0, 1.0)
    )
    chances = AMOUNT * random + (1 - AMOUNT) * kept
    close(chances, data["noise.onehot_probs"], TOLERANCE)


def test_the_configured_norm_leaves_rewards_as_they_are() -> None:
    data = archive("streamnorm_schedule")
    reward = data.tensor("x")
    batch = {"reward": reward.numpy(), "is_terminal": reward.numpy() > 9}
    close(dreamer(VECTORS, CONTINUOUS)._prepare(batch)["reward"], data["m1.out"], TOLERANCE)
    close(torch.ones(3), data["m1.mag"], TOLERANCE)


def test_a_constant_is_a_schedule() -> None:
    data = archive("streamnorm_schedule")
    amounts = [Schedule(0.1)(int(step)) for step in data["sched.steps"]]
    close(torch.tensor(amounts), data["sched.0.1"], TOLERANCE)
