"""What is an option of one Dreamer works in the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from wmrun_envserver.wire.spaces import Space

from tests.agents.small import CONTINUOUS, DISCRETE, random_batch, small_dreamer
from tests.agents.small_v3 import small_v3, stored_batch
from tests.agents.test_dreamer_v1 import small_v1
from wmrun.agents.dreamer import Dreamer
from wmrun.errors import ComponentError

BUILD = {"v1": small_v1, "v2": small_dreamer, "v3": small_v3}
CATEGORICAL = {"type": "categorical", "groups": 2, "classes": 3, "unimix": 0.01}
GAUSSIAN = {"type": "gaussian", "size": 5}
LAYERS = {"layers": 1, "units": 8}
TWO_HOT = {"type": "two_hot", **LAYERS, "bins": 41}
MIXTURES: dict[str, dict[str, Any]] = {
    "v1 with balanced categorical latents": {"latent": CATEGORICAL, "kl_balance": 0.8},
    "v1 with blocks and a slow critic": {
        "dynamics": {"type": "gru_block", "deter": 8, "hidden": 4, "blocks": 2},
        "slow_critic_every": 2,
        "actor_entropy": 1e-3,
    },
    "v2 with gaussian latents": {"latent": GAUSSIAN},
    "v2 with two-hot heads": {"reward_head": TWO_HOT, "critic_head": TWO_HOT},
    "v2 with noise shared over a batch": {"latent": GAUSSIAN | {"shared_noise": True}},
    "v3 as it is": {},
    "v3 with gaussian latents": {"latent": GAUSSIAN},
    "v3 with squared errors": {
        "reward_head": {"type": "mse", **LAYERS},
        "critic_head": {"type": "mse", **LAYERS},
    },
    "v3 with a gru and no stored states": {
        "dynamics": {"type": "gru_layernorm", "deter": 8},
        "stored_latents": False,
    },
}


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("gradient", ["dynamics", "reinforce", "mix"])
@pytest.mark.parametrize("act_space", [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_every_part_of_a_mixture_learns(mixture: str, gradient: str, act_space: Space) -> None:
    agent = BUILD[mixture[:2]](
        act_space=act_space, actor_grad=gradient, **MIXTURES[mixture], **_fast(mixture)
    )
    before = _parameters(agent)
    for seed in range(3):
        agent.update(_batch(agent, seed))
    after = _parameters(agent)
    unmoved = [name for name in before if torch.equal(after[name], before[name])]
    assert unmoved == []


def _fast(mixture: str) -> dict[str, float]:
    """Return a learning rate that shows, and no free nats: they would leave out the prior."""
    rates = {"lr": 1e-3} if mixture.startswith("v3") else {"model_lr": 1e-2, "critic_lr": 1e-2}
    return rates | {"kl_free": 0.0}


def _batch(agent: Dreamer, seed: int) -> dict[str, Any]:
    return stored_batch(agent, seed=seed) if agent.replay_context else random_batch(seed=seed)


def _parameters(agent: Dreamer) -> dict[str, torch.Tensor]:
    parts = {"world_model": agent.world_model, "actor": agent.actor, "critic": agent.critic}
    return {
        f"{part}.{name}": parameter.detach().clone()
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
    }


@pytest.mark.parametrize(
    ("option", "head", "words"),
    [
        (
            "critic_head",
            "bernoulli",
            "a probability, but this head has to predict a number",
        ),
        (
            "reward_head",
            "bernoulli",
            "a probability, but this head has to predict a number",
        ),
        ("continue_head", "mse", "a number, but this head has to predict a probability"),
    ],
)
def test_heads_that_predict_something_else_are_refused(option: str, head: str, words: str) -> None:
    with pytest.raises(ComponentError, match=rf"agent\.{option} is {head}, which predicts {words}"):
        small_dreamer(**{option: {"type": head, **LAYERS}})
