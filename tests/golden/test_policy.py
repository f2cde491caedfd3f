"""policy_*.npz: four decisions for two slots in train and eval mode, with is_first flags."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from tests.golden.agents import (
    CONTINUOUS,
    DISCRETE,
    VECTORS,
    dreamer,
    load,
    replay_actions,
    replay_stochs,
)
from tests.golden.archives import archive, close
from wmrun.agents.base import ActMode
from wmrun.latents.base import Latent


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", ["continuous", "discrete"])
def test_four_decisions(name: str, mode: ActMode) -> None:
    data = archive(f"policy_{name}")
    agent = dreamer(VECTORS, CONTINUOUS if name == "continuous" else DISCRETE)
    load(agent, data)
    replay_stochs(agent.world_model.rssm.latent, *data[f"{mode}.stoch"])
    replay_actions(agent.actor, *data[f"{mode}.action"])
    posteriors = _posteriors(agent.world_model.rssm.latent)
    carry = agent.initial_carry(2)
    for call in range(4):
        obs = {key: data[key][:, call] for key in VECTORS}
        action, carry = agent.act(obs, data["is_first"][call], carry, mode)
        assert action.dtype == np.float32
        close(action, data[f"{mode}.action"][call], 1e-5)
        close(carry.state.deter, data[f"{mode}.deter"][call], 1e-5)
        close(posteriors[call].unflatten(-1, (4, 5)), data[f"{mode}.logit"][call], 1e-5)
        policy = agent.actor(carry.state.feat)
        for part in ("loc", "scale") if name == "continuous" else ("logits",):
            close(getattr(policy, part), data[f"{mode}.actor_{part}"][call], 1e-5)


def _posteriors(latent: Latent) -> list[Tensor]:
    """Return a list that every distribution is added to when `latent` samples from it."""
    seen: list[Tensor] = []
    draw = latent.sample

    def sample(stats: Tensor, noise: Tensor) -> Tensor:
        seen.append(stats)
        return draw(stats, noise)

    latent.sample = sample
    return seen
