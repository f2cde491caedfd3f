"""train_step_*.npz: one whole update of the official agent, from batch to changed parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
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
from wmrun.agents.imagination import Trajectory, discount_weights
from wmrun.latents.base import Latent
from wmrun.latents.gaussian import GaussianLatent
from wmrun.nn.returns import lambda_return
from wmrun.world_model import Fit

STATE, LOSS, GRADIENT, PARAMETER = 1e-5, 1e-5, 3e-4, 2e-6
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
    steps = _Steps(agent)
    metrics = agent.update(batch).metrics

    for ours, official in (METRICS | names).items():
        close(metrics[ours], data[f"metric.{official}"], relative=LOSS)
    close(metrics["imagined/reward"], data["reward_pred"][:-1].mean(), relative=LOSS)
    steps.check(data)
    _check_gradients(agent, data)
    _check_parameters(agent, data)


class _Steps:
    """What an update observes, imagines and expects, kept while its parameters are what they are.

    The world model has stepped before it imagines, the slow critic is not copied until the end.
    """

    def __init__(self, agent: DreamerV2) -> None:
        self.agent = agent
        self.found: dict[str, Tensor] = {}
        """By their official names."""
        self._fit, agent._fit = agent._fit, self._observe
        self._losses, agent._behaviour_losses = agent._behaviour_losses, self._judge

    @torch.no_grad()
    def check(self, data: Archive) -> None:
        for name, ours in self.found.items():
            official = data[name].reshape(ours.shape)
            close(ours, official, STATE, relative=LOSS)
        rewards = self.found["reward_pred"]
        for kind in ("reward", "reward_normed"):
            close(rewards.mean(), data[f"metric.{kind}_mean"], relative=LOSS)
            close(rewards.std(correction=0), data[f"metric.{kind}_std"], relative=LOSS)
        objective = self.agent._objective
        close(objective.entropy_scale, data["metric.actor_ent_scale"], relative=LOSS)
        if "metric.actor_grad_mix" in data:
            close(objective.mix, data["metric.actor_grad_mix"], relative=LOSS)
        if "noise_observe" in data:
            self._check_noise(data)
        if "action_eps" in data:
            policy = self.policy
            action = policy.loc + policy.scale * data.tensor("action_eps")
            close(action, data["seq.action"][1:], STATE)

    def _check_noise(self, data: Archive) -> None:
        """Compare the samples that recorded noise leads to, with that of the prior first."""
        latent, noise = self.latent, data.tensor("noise_observe").transpose(0, 2)
        for turn, name in enumerate(("prior", "post")):
            stats = self.observed[name]
            close(_sampled(latent, stats, noise[:, turn]), data[f"{name}.stoch"], STATE)
        prior = self.imagined_prior
        close(_sampled(latent, prior, data.tensor("noise_stoch")), data["seq.stoch"][1:], STATE)

    def _observe(self, batch: Mapping[str, Tensor]) -> Fit:
        fit, model = self._fit(batch), self.agent.world_model
        self.latent = model.rssm.latent
        self.observed = {"post": fit.observed.post, "prior": fit.observed.prior}
        with torch.no_grad():
            feat = fit.observed.state.feat
            predictions = dict(model.decoder(feat)) | {"reward": model.reward_head(feat)}
            targets = dict(model.decoder.targets(batch)) | {"reward": batch["reward"]}
            if model.continue_head is not None:
                predictions["discount"] = model.continue_head(feat)
                targets["discount"] = batch["continue"]
            likelihoods = {f"like.{key}": -p.loss(targets[key]) for key, p in predictions.items()}
            self.found |= likelihoods | {
                "embed": model.encoder(batch),
                "kl_value": model.rssm.latent.kl(fit.observed.post, fit.observed.prior),
                "post.deter": fit.observed.state.deter,
                "prior.deter": fit.observed.state.deter,
                **_statistics(model.rssm.latent, "post", fit.observed.post),
                **_statistics(model.rssm.latent, "prior", fit.observed.prior),
            }
        return fit

    def _judge(self, trajectory: Trajectory, is_terminal: Tensor) -> tuple[Tensor, Tensor, Any]:
        agent, feat = self.agent, trajectory.feat
        assert agent.slow_critic is not None
        with torch.no_grad():
            state = agent.world_model.rssm.state(feat)
            self.policy = trajectory.policy
            self.imagined_prior = agent.world_model.rssm.prior(state.deter[1:])
            discount = agent._imagined_discount(feat, is_terminal)
            reward = agent.world_model.reward_head(feat).mean
            value = agent.slow_critic(feat).mean
            self.found |= {
                "seq.feat": feat,
                "seq.stoch": state.stoch,
                "seq.deter": state.deter,
                "seq.discount": discount,
                "seq.weight": discount_weights(discount),
                "reward_pred": reward,
                "target_value": value,
                "target": lambda_return(reward[:-1], discount[:-1], value, 0.95),
            }
        return self._losses(trajectory, is_terminal)


def _statistics(latent: Latent, name: str, stats: Tensor) -> dict[str, Tensor]:
    if isinstance(latent, GaussianLatent):
        mean, std = latent.normal(stats)
        return {f"{name}.mean": mean, f"{name}.std": std}
    return {f"{name}.logit": stats}


def _sampled(latent: Latent, stats: Tensor, noise: Tensor) -> Tensor:
    """Sample with noise where `replay_stochs` lets the latent take samples for noise."""
    return type(latent).sample(latent, stats, noise)


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
