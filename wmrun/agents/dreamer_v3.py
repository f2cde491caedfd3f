"""Dreamer V3 (Hafner et al. 2025, doi 10.1038/s41586-025-08744-2; danijar/dreamerv3 at e3f0224)."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from wmrun_envserver.wire import spaces

from wmrun.agents.actor_critic import (
    ActorGradient,
    ActorObjective,
    SlowAverage,
    actor_gradient,
)
from wmrun.agents.base import Entries, ObsSpace
from wmrun.agents.dreamer import Dreamer, RewardTransform
from wmrun.agents.imagination import Trajectory, frozen, imagine
from wmrun.agents.networks import build_networks, check_loss_scales
from wmrun.agents.phases import phase
from wmrun.agents.policy import Carry
from wmrun.agents.sizes import WIDTHS, Size, sized
from wmrun.agents.stored_latents import StoredLatents
from wmrun.nn.distributions import Prediction
from wmrun.nn.divergence import SplitKL
from wmrun.nn.initializers import Init
from wmrun.nn.laprop import LaProp
from wmrun.nn.layers import Activation, Norm, width
from wmrun.nn.return_scale import ReturnScale
from wmrun.nn.returns import lambda_return
from wmrun.registry import Component
from wmrun.registry.ranges import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitInterval,
    Width,
)
from wmrun.world_model import Fit, State


class DreamerV3(Dreamer):
    """Learns a world model and a policy inside it, with one setting for many domains.

    Defaults are those of the repository's HEAD. Where papers or older revisions differ, an option
    has their value: `beta2` (0.99 in the papers), `dyn_scale` (0.5 in 2023), `continue_discount`,
    `replay_critic_scale`, `stored_latents`, `actor_grad` (continuous actions in 2023: dynamics).

    Args:
        size: the published size that gives every width which is null its number.
        encoder: from observations to embed.
        decoder: from the model state back to observations.
        latent: family of the stochastic state.
        dynamics: deterministic path of the world model.
        reward_head: predicts rewards.
        continue_head: predicts whether the episode goes on, times the discount.
        critic_head: predicts returns; a second one of its kind is the slow critic.
        actor: policy network.
        prior_layers: hidden layers of the prior; the posterior has one.
        hidden: units of the layers before prior and posterior.
        act: activation of these layers.
        norm: normalisation of these layers.
        init: initialiser of every layer's kernel.
        imagine_horizon: imagined steps (H).
        discount: discount per agent step, 1 - 1/333 as published.
        continue_discount: whether the continue head learns the discount too; otherwise it is
            multiplied in.
        return_lambda: mixes one-step (0) and long (1) returns.
        dyn_scale: weight of the KL loss that trains the prior.
        rep_scale: weight of the KL loss that trains the posterior.
        kl_free: free nats.
        kl_free_avg: whether free nats count on the batch mean instead of on every element.
        loss_scales: weights of the other model losses, by "reward", "continue" or observation key;
            1 where not given.
        detached_heads: parts that learn from the model state without shaping it.
        reward_transform: applied to rewards before anything learns from them.
        actor_grad: how the actor learns; auto is dynamics for continuous actions and reinforce for
            others.
        actor_grad_mix: share of the dynamics gradient in "mix".
        actor_entropy: weight of the policy's entropy.
        return_norm: whether returns are divided by the range of their percentiles for the actor.
        return_norm_rate: share of a new batch in the percentiles.
        slow_critic_rate: share of the critic in the slow critic, per update.
        slow_critic_scale: weight of the loss that keeps the critic close to the slow critic.
        slow_critic_targets: whether returns bootstrap from the slow critic instead of the critic.
        replay_critic_scale: weight of the critic's loss on replayed rewards; 0 leaves it out.
        replay_critic_grad: whether that loss shapes the world model too.
        stored_latents: whether sequences go on from the state stored with the row before them.
        sample_in_eval: whether evaluation samples actions instead of taking the mode.
        lr: learning rate of everything.
        warmup: updates over which the learning rate rises from 0.
        agc: largest gradient of a tensor, as a share of the tensor's norm; 0 does not clip.
        beta1: decay of the momentum.
        beta2: decay of the squared gradients.
        eps: added to the root of the squared gradients.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        act_space: spaces.Space,
        *,
        device: torch.device | str,
        size: Size | None = "200m",
        encoder: Annotated[Component, "encoder"] = {
            "type": "multi",
            "image": {"type": "cnn_v3"},
            "vector": {
                "type": "mlp",
                "layers": 3,
                "units": None,
                "act": "silu",
                "norm": "rms",
                "symlog": True,
            },
        },
        decoder: Annotated[Component, "decoder"] = {
            "type": "multi",
            "image": {"type": "cnn_v3"},
            "vector": {
                "type": "mlp",
                "layers": 3,
                "units": None,
                "act": "silu",
                "norm": "rms",
                "symlog": True,
            },
        },
        latent: Annotated[Component, "latent"] = {
            "type": "categorical",
            "classes": None,
            "unimix": 0.01,
        },
        dynamics: Annotated[Component, "dynamics"] = {"type": "gru_block"},
        reward_head: Annotated[Component, "head"] = {"type": "two_hot"},
        continue_head: Annotated[Component, "head"] = {
            "type": "bernoulli",
            "layers": 1,
            "units": None,
            "act": "silu",
            "norm": "rms",
        },
        critic_head: Annotated[Component, "head"] = {"type": "two_hot", "layers": 3},
        actor: Annotated[Component, "actor"] = {
            "type": "auto",
            "continuous": {"type": "bounded_normal"},
            "discrete": {
                "type": "categorical",
                "layers": 3,
                "units": None,
                "act": "silu",
                "norm": "rms",
                "out_scale": 0.01,
            },
        },
        prior_layers: PositiveInt = 2,
        hidden: Width = None,
        act: Activation = "silu",
        norm: Norm = "rms",
        init: Init = "truncated_normal",
        imagine_horizon: PositiveInt = 15,
        discount: UnitInterval = 0.996996996996997,
        continue_discount: bool = True,
        return_lambda: UnitInterval = 0.95,
        dyn_scale: NonNegativeFloat = 1.0,
        rep_scale: NonNegativeFloat = 0.1,
        kl_free: NonNegativeFloat = 1.0,
        kl_free_avg: bool = False,
        loss_scales: dict[str, NonNegativeFloat] = {},
        detached_heads: list[Literal["decoder", "reward", "continue"]] = [],
        reward_transform: RewardTransform = "identity",
        actor_grad: Literal["auto"] | ActorGradient = "reinforce",
        actor_grad_mix: UnitInterval = 0.1,
        actor_entropy: NonNegativeFloat = 3e-4,
        return_norm: bool = True,
        return_norm_rate: UnitInterval = 0.01,
        slow_critic_rate: UnitInterval = 0.02,
        slow_critic_scale: NonNegativeFloat = 1.0,
        slow_critic_targets: bool = False,
        replay_critic_scale: NonNegativeFloat = 0.3,
        replay_critic_grad: bool = True,
        stored_latents: bool = True,
        sample_in_eval: bool = True,
        lr: PositiveFloat = 4e-5,
        warmup: NonNegativeInt = 1000,
        agc: NonNegativeFloat = 0.3,
        beta1: Annotated[float, Ge(0), Lt(1)] = 0.9,
        beta2: Annotated[float, Ge(0), Lt(1)] = 0.999,
        eps: PositiveFloat = 1e-20,
    ) -> None:
        check_loss_scales(loss_scales, ["reward", "continue", *obs_space])
        self._horizon = imagine_horizon
        # What the continue head's prediction still has to be multiplied by.
        self._extra_discount = 1.0 if continue_discount else discount
        self._return_lambda = return_lambda
        self._replay_discount = discount
        self._objective = ActorObjective(
            actor_gradient(actor_grad, act_space), actor_entropy, actor_grad_mix
        )
        self._slow_critic_scale = slow_critic_scale
        self._slow_critic_targets = slow_critic_targets
        self._replay_critic_scale = replay_critic_scale
        self._replay_critic_grad = replay_critic_grad
        networks = build_networks(
            obs_space,
            act_space,
            device=torch.device(device),
            encoder=sized(encoder, size),
            decoder=sized(decoder, size),
            latent=sized(latent, size),
            dynamics=sized(dynamics, size),
            reward_head=sized(reward_head, size),
            continue_head=sized(continue_head, size),
            critic_head=sized(critic_head, size),
            actor=sized(actor, size),
            prior_layers=prior_layers,
            hidden=width(WIDTHS[size]["hidden"] if size and hidden is None else hidden, "hidden"),
            act=act,
            norm=norm,
            init=init,
            kl_objective=SplitKL(kl_free, kl_free_avg),
            detached_heads=detached_heads,
            slow_critic=True,
        )
        super().__init__(
            networks,
            device=torch.device(device),
            discount=discount if continue_discount else 1.0,
            loss_scales={"dyn": dyn_scale, "rep": rep_scale, **loss_scales},
            reward_transform=reward_transform,
            sample_in_eval=sample_in_eval,
        )
        assert networks.slow_critic is not None
        self._slow_critic = networks.slow_critic
        self._slow_average = SlowAverage(self.critic, self._slow_critic, rate=slow_critic_rate)
        self._return_scale = (
            ReturnScale(rate=return_norm_rate).to(self._device) if return_norm else None
        )
        trained = nn.ModuleDict(
            {"world_model": self.world_model, "critic": self.critic, "actor": self.actor}
        )
        self._laprop = LaProp(
            trained.named_parameters(),
            lr=lr,
            warmup=warmup,
            agc=agc,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
        )
        self._stored = StoredLatents(self.world_model.rssm) if stored_latents else None
        if self._stored is not None:
            self.replay_context = 1
            self.replay_entries = self._stored.spec

    def entries(self, carry: Carry) -> Entries:
        if self._stored is None:
            return {}
        return {key: value.cpu().numpy() for key, value in self._stored.pack(carry.state).items()}

    def _optimizers(self) -> dict[str, LaProp]:
        return {"laprop": self._laprop}

    def _modules(self) -> dict[str, nn.Module]:
        scale = {} if self._return_scale is None else {"return_scale": self._return_scale}
        return {**super()._modules(), **scale}

    def _step(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        state, data = self._split_context(data)
        with phase("world_model"):
            fit = self._fit(data, state)
            model_loss = self._model_loss(fit)
        with phase("imagination"):
            trajectory = imagine(
                self.world_model,
                self.actor,
                fit.observed.state.detach().flatten(),
                self._horizon,
                self._update_rng,
                through_dynamics=self._objective.through_dynamics,
            )
        with phase("actor_critic"):
            imagined = self._imagined_losses(trajectory)
            actor_gradients = _gradients(imagined.actor, self.actor)
            critic_gradients = _gradients(imagined.critic, self.critic)
        with phase("world_model"):
            first_return = imagined.returns[0].unflatten(0, data["reward"].shape)
            replay_critic = self._replay_critic_loss(fit, data, first_return)
            observed_loss = model_loss + self._replay_critic_scale * replay_critic
            model_gradients = _gradients(observed_loss, self.world_model, self.critic)
        with phase("optimizer"):
            # All parts step together, on gradients at the same parameters.
            torch._foreach_add_(model_gradients[-len(critic_gradients) :], critic_gradients)
            loss = observed_loss + imagined.actor + imagined.critic
            norm = self._laprop.apply([*model_gradients, *actor_gradients], loss.detach())
            self._slow_average.update()
        metrics = {
            **self._fit_metrics(fit),
            "loss/model": model_loss,
            "loss/actor": imagined.actor,
            "loss/critic": imagined.critic,
            "loss/replay_critic": replay_critic,
            "grad_norm/all": norm,
            **imagined.metrics,
        }
        return metrics, {} if self._stored is None else self._stored.pack(fit.observed.state)

    def _split_context(
        self, data: Mapping[str, Tensor]
    ) -> tuple[State | None, Mapping[str, Tensor]]:
        """Return the state to begin with, None for zero, and the rows to train on."""
        return (None, data) if self._stored is None else self._stored.split(data)

    def _imagined_losses(self, trajectory: Trajectory) -> _ImaginedLosses:
        """Return the losses of actor and critic on what was imagined (V3 3.4; agent.py:382-446).

        A value does not contain the reward of its own state: the return of state t begins with the
        reward on arrival in state t+1. A state weighs as much as it is likely to be reached, the
        start included, so that a terminal start does not count.
        """
        model, feat = self.world_model, trajectory.feat
        through = self._objective.through_dynamics
        with frozen(model, self._slow_critic), torch.set_grad_enabled(through):
            reward = model.reward_head(feat[1:]).mean
            discount = self._extra_discount * self._continue(feat)
        with torch.no_grad():
            slow = self._slow_critic(feat[:-1]).mean
        prediction = self.critic(feat[:-1].detach())
        value = self._values(feat, prediction.mean.detach())
        returns = lambda_return(reward, discount[1:], value, self._return_lambda)
        target = returns.detach()
        weight = discount.detach()[:-1].cumprod(0) / self._extra_discount
        scale = target.new_ones(()) if self._return_scale is None else self._return_scale(target)
        actor_loss, actor_metrics = self._objective.loss(
            policy=trajectory.policy,
            action=trajectory.action,
            returns=returns / scale,
            baseline=value[:-1] / scale,
            weight=weight,
        )
        critic_loss = (weight * self._critic_losses(prediction, target, slow)).mean()
        metrics = {
            **actor_metrics,
            "critic/value": value.mean(),
            "critic/slow_value": slow.mean(),
            "critic/target": target.mean(),
            "actor/return_scale": scale,
            "imagined/reward": reward.mean(),
            "imagined/discount": discount.mean(),
        }
        return _ImaginedLosses(actor_loss, critic_loss, target, metrics)

    def _continue(self, feat: Tensor) -> Tensor:
        assert self.world_model.continue_head is not None
        return self.world_model.continue_head(feat).mean

    def _values(self, feat: Tensor, known: Tensor) -> Tensor:
        """Return the values `[H+1, N]` that returns bootstrap from; `known` has the first H."""
        with frozen(self.critic, self._slow_critic):
            if self._slow_critic_targets:
                return self._slow_critic(feat).mean
            if self._objective.through_dynamics:
                return self.critic(feat).mean
            with torch.no_grad():
                return torch.cat([known, self.critic(feat[-1:]).mean])

    def _critic_losses(self, prediction: Prediction, target: Tensor, slow: Tensor) -> Tensor:
        """Return the losses `[...]` towards returns and towards the slow critic's values."""
        losses = prediction.loss(target)
        if self._slow_critic_scale == 0:
            return losses
        return losses + self._slow_critic_scale * prediction.loss(slow)

    def _replay_critic_loss(
        self, fit: Fit, data: Mapping[str, Tensor], first_return: Tensor
    ) -> Tensor:
        """Return the critic's loss on replayed rewards (V3 3.4; agent.py:449-479).

        Bootstraps from `first_return` `[B, T]`, the imagined returns that begin in each state.
        """
        if self._replay_critic_scale == 0:
            return first_return.new_zeros(())
        feat = fit.observed.state.feat[:, :-1]
        prediction = self.critic(feat if self._replay_critic_grad else feat.detach())
        with torch.no_grad():
            slow = self._slow_critic(feat).mean
        alive = (~data["is_terminal"][:, 1:]).to(feat.dtype)
        unbroken = (~data["is_last"]).to(feat.dtype)
        returns = lambda_return(
            data["reward"][:, 1:].transpose(0, 1),
            self._replay_discount * alive.transpose(0, 1),
            first_return.transpose(0, 1),
            self._return_lambda * unbroken[:, 1:].transpose(0, 1),
        ).transpose(0, 1)
        return (unbroken[:, :-1] * self._critic_losses(prediction, returns, slow)).mean()


class _ImaginedLosses(NamedTuple):
    actor: Tensor
    critic: Tensor
    returns: Tensor
    """`[H, N]`"""
    metrics: dict[str, Tensor]


def _gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor]:
    parameters = [p for module in modules for p in module.parameters()]
    return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
