"""train_step_*.npz: one whole update of the official agent, from batch to changed parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box

from tests.golden.agents import (
    CONTINUOUS,
    DISCRETE,
    VECTORS,
    dreamer,
    load,
    parts,
    replay_actions,
    replay_stochs,
)
from tests.golden.archives import Archive, archive, close, close_to_largest
from wmrun.agents.dreamer_v2 import DreamerV2

LOSS, GRADIENT, PARAMETER = 1e-5, 3e-4, 2e-6
CONTINUE = {"type": "bernoulli", "layers": 2, "units": 16}
METRICS = {
    "loss/kl": "kl_loss",
    "loss/reward": "reward_loss",
    "loss/model": "model_loss",
    "loss/actor": "actor_loss",
    "loss/critic": "critic_loss",
    "grad_norm/model": "model_grad_norm",
    "grad_norm/actor": "actor_grad_norm",
    "grad_norm/critic": "critic_grad_norm",
    "kl/value": "model_kl",
    "kl/prior_entropy": "prior_ent",
    "kl/post_entropy": "post_ent",
    "actor/entropy": "actor_ent",
    "critic/value": "critic",
    "critic/slow_value": "critic_slow",
    "critic/target": "critic_target",
}


def test_dmc() -> None:
    """RGB images, truncated-normal actions, dynamics gradient, no continue head, free nats."""
    agent = dreamer({"image": Box((64, 64, 3), "uint8")}, CONTINUOUS)
    _check_update(agent, archive("train_step_dmc"), {"loss/image": "image_loss"}, updates=7)


def test_atari() -> None:
    """Gray images, one-hot actions, reinforce, continue head, tanh rewards; copies the critic."""
    agent = dreamer(
        {"image": Box((64, 64, 1), "uint8")},
        DISCRETE,
        continue_head=CONTINUE,
        discount=0.999,
        kl_scale=0.1,
        kl_free=0.0,
        loss_scales={"continue": 5.0},
        reward_transform="tanh",
        actor_entropy=1e-3,
        model_lr=2e-4,
        actor_lr=4e-5,
        critic_lr=1e-4,
    )
    names = {"loss/image": "image_loss", "loss/continue": "discount_loss"}
    _check_update(agent, archive("train_step_atari"), names, updates=0)


def test_vectors_with_gaussian_latents() -> None:
    """Mode both, and a continue head that does not shape the state."""
    agent = dreamer(
        VECTORS,
        CONTINUOUS,
        latent={"type": "gaussian", "size": 6},
        continue_head=CONTINUE,
        detached_heads=["continue"],
        kl_free=0.0,
        actor_grad="mix",
        actor_entropy=2e-3,
        slow_critic_every=3,
        model_lr=1e-4,
        critic_lr=2e-4,
    )
    names = {
        "loss/velocity": "velocity_loss",
        "loss/position": "position_loss",
        "loss/continue": "discount_loss",
    }
    _check_update(agent, archive("train_step_vector_gauss"), names, updates=3)


def _check_update(agent: DreamerV2, data: Archive, names: dict[str, str], updates: int) -> None:
    load(agent, data, "before.")
    agent.load(agent.save() | {"count.updates": torch.tensor(updates)})
    latent = agent.world_model.rssm.latent
    replay_stochs(latent, data["post.stoch"].swapaxes(0, 1), data["seq.stoch"][1:])
    replay_actions(agent.actor, data["seq.action"][1:])
    batch = {key.removeprefix("data."): data[key] for key in data if key.startswith("data.")}
    metrics = agent.update(batch).metrics

    for ours, official in (METRICS | names).items():
        assert metrics[ours] == pytest.approx(float(data[f"metric.{official}"]), rel=LOSS), ours
    imagined = data["reward_pred"][:-1].mean()
    assert metrics["imagined/reward"] == pytest.approx(imagined, rel=LOSS)
    _check_gradients(agent, data)
    _check_parameters(agent, data)


def _check_gradients(agent: DreamerV2, data: Archive) -> None:
    """The first moments after the first step are a tenth of the clipped gradients."""
    state = agent.save()
    moments = {id(p): state[f"model_adam.m.{n}"] for n, p in agent.world_model.named_parameters()}
    moments |= {id(p): state[f"actor_adam.m.{n}"] for n, p in agent.actor.named_parameters()}
    moments |= {id(p): state[f"critic_adam.m.{n}"] for n, p in agent.critic.named_parameters()}
    for part, (module, table) in parts(agent).items():
        if part == "target_critic":
            continue
        for name, gradient in data.parameters(module, f"grad.{part}.", table).items():
            moment = moments[id(module.get_parameter(name))]
            close_to_largest(10 * moment, gradient, GRADIENT)


def _check_parameters(agent: DreamerV2, data: Archive) -> None:
    for part, (module, table) in parts(agent).items():
        after = data.parameters(module, f"after.{part}.", table)
        if part == "target_critic":
            for name, value in after.items():
                close(module.get_parameter(name), value, PARAMETER)
            continue
        gradients = data.parameters(module, f"grad.{part}.", table)
        for name, value in after.items():
            # Adam's first step has size lr whatever the gradient's: rounding decides where it is 0.
            clear = np.abs(gradients[name]) > 1e-4
            close(module.get_parameter(name)[torch.tensor(clear)], value[clear], PARAMETER)
