"""Which loss moves which parameters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.agents.small import DISCRETE, random_batch, small_dreamer
from wmrun.agents.dreamer_v2 import DreamerV2

FROZEN = {"model_lr": 0.0, "actor_lr": 0.0, "critic_lr": 0.0, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("vector", {"encoder", "dynamics", "obs_out", "obs_dist", "decoder"}),
        ("reward", {"encoder", "dynamics", "obs_out", "obs_dist", "reward_head"}),
        ("continue", {"encoder", "dynamics", "obs_out", "obs_dist", "continue_head"}),
        ("kl", {"encoder", "dynamics", "obs_out", "obs_dist", "img_out", "img_dist"}),
    ],
)
def test_model_losses(loss: str, reached: set[str]) -> None:
    agent = small_dreamer(kl_free=0.0)
    assert _reached(agent, loss) == reached


@pytest.mark.parametrize(("head", "loss"), [("decoder", "vector"), ("reward", "reward")])
def test_detached_heads_learn_without_shaping_the_state(head: str, loss: str) -> None:
    agent = small_dreamer(detached_heads=[head])
    assert _reached(agent, loss) == {"decoder" if head == "decoder" else "reward_head"}


def test_free_nats_silence_the_kl() -> None:
    assert _reached(small_dreamer(kl_free=1e6), "kl") == set()


@pytest.mark.parametrize("gradient", ["dynamics", "reinforce", "mix"])
def test_each_learning_rate_moves_its_own_part(gradient: str) -> None:
    for moved in ("model_lr", "actor_lr", "critic_lr"):
        agent = small_dreamer(actor_grad=gradient, **(FROZEN | {moved: 1e-2}))
        before = {name: t.clone() for name, t in agent.save().items()}
        agent.update(random_batch())
        after = agent.save()
        changed = {
            name.split(".")[0]
            for name in after
            if name.split(".")[0] in ("world_model", "actor", "critic")
            and not torch.equal(after[name], before[name])
        }
        part = {"model_lr": "world_model", "actor_lr": "actor", "critic_lr": "critic"}[moved]
        assert changed == {part}


def test_dynamics_gradient_needs_no_reward_baseline_and_reaches_the_actor() -> None:
    """With a reward head that ignores its input, nothing the actor does changes the return."""
    quiet = small_dreamer(actor_grad="dynamics", actor_entropy=0.0, continue_head=None)
    for head in (quiet.world_model.reward_head, quiet.slow_critic):
        torch.nn.init.zeros_(head.get_parameter("out.weight"))
    loud = small_dreamer(actor_grad="dynamics", actor_entropy=0.0, continue_head=None)
    batch = random_batch()
    assert quiet.update(batch).metrics["grad_norm/actor"] < 1e-3
    assert loud.update(batch).metrics["grad_norm/actor"] > 1e-3


def test_auto_is_reinforce_for_discrete_actions() -> None:
    """With one-hot actions, auto gives the update that reinforce gives."""
    batch = random_batch()
    found = {
        mode: small_dreamer(act_space=DISCRETE, actor_grad=mode)
        .update(batch)
        .metrics["grad_norm/actor"]
        for mode in ("auto", "reinforce", "dynamics")
    }
    assert found["auto"] == found["reinforce"] != found["dynamics"]


def test_world_model_parameters_still_want_gradients_after_an_update() -> None:
    agent = small_dreamer()
    agent.update(random_batch())
    assert all(p.requires_grad for p in agent.world_model.parameters())
    assert not any(p.requires_grad for p in agent.slow_critic.parameters())


def _reached(agent: DreamerV2, loss: str) -> set[str]:
    """Return the parts of the world model that get a gradient other than zero from a loss."""
    model = agent.world_model
    data = agent._prepare(random_batch())
    fit = model.fit(data, model.rssm.noise((5, 2), torch.Generator().manual_seed(0)))
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(fit.losses[loss], parameters, materialize_grads=True)
    return {_part(name) for name, g in zip(names, gradients, strict=True) if _nonzero(g)}


def _part(name: str) -> str:
    first, second, *_ = name.split(".")
    return second if first == "rssm" else first


def _nonzero(gradient: Tensor) -> bool:
    return bool(gradient.abs().max() > 0)
