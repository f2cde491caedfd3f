"""Dreamer V2 (Hafner et al. 2021, arXiv 2010.02193; danijar/dreamerv2 at 07d906e)."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.agents.actor_critic import (
    ActorGradient,
    ActorObjective,
    SlowCopy,
    actor_gradient,
    critic_loss,
)
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer import Dreamer, RewardTransform
from wmrun.agents.imagination import Trajectory, discount_weights, first_rows, frozen, imagine
from wmrun.agents.networks import build_networks, check_loss_scales
from wmrun.agents.phases import phase
from wmrun.nn.divergence import BalancedKL
from wmrun.nn.initializers import Init
from wmrun.nn.layers import Activation, Norm
from wmrun.nn.optimizer import Adam
from wmrun.nn.returns import lambda_return
from wmrun.registry import Component
from wmrun.registry.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from wmrun.world_model import State


class DreamerV2(Dreamer):
    """Learns a world model with discrete latents and a policy inside it.

    Defaults are those of the original's `dmc_vision`.

    Args:
        encoder: from observations to embed.
        decoder: from the model state back to observations.
        latent: family of the stochastic state.
        dynamics: deterministic path of the world model.
        reward_head: predicts rewards.
        continue_head: predicts the discount of the next state, 0 after a terminal one; null takes
            `discount` everywhere.
        critic_head: predicts returns; a second one of its kind is the slow critic.
        actor: policy network.
        hidden: units of the layers before prior and posterior; null makes them as large as
            `dynamics.deter`.
        act: activation of these layers.
        norm: normalisation of these layers.
        init: initialiser of every layer's kernel.
        imagine_horizon: imagined steps (H).
        discount: discount per agent step.
        return_lambda: mixes one-step (0) and long (1) returns.
        kl_scale: weight of the KL loss.
        kl_balance: share of the KL loss that trains the prior.
        kl_free: free nats.
        kl_free_avg: whether free nats count on the batch mean instead of on every element.
        kl_forward: whether to use KL[prior‖post] instead of KL[post‖prior].
        loss_scales: weights of the other model losses, by "reward", "continue" or observation key;
            1 where not given.
        detached_heads: parts that learn from the model state without shaping it.
        reward_transform: applied to rewards before anything learns from them.
        actor_grad: how the actor learns; auto is reinforce for discrete actions and dynamics for
            continuous ones.
        actor_grad_mix: share of the dynamics gradient in "mix".
        actor_entropy: weight of the policy's entropy.
        slow_critic_every: updates between copies of the critic to the slow critic that makes the
            targets.
        model_lr: learning rate of the world model.
        actor_lr: learning rate of the actor.
        critic_lr: learning rate of the critic.
        adam_eps: Adam's epsilon, added before the bias correction.
        grad_clip: largest global norm of each gradient; 0 does not clip.
        weight_decay: share by which every parameter shrinks per update, whatever the learning rate.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        act_space: spaces.Space,
        *,
        device: torch.device | str,
        encoder: Annotated[Component, "encoder"] = {"type": "cnn"},
        decoder: Annotated[Component, "decoder"] = {"type": "cnn"},
        latent: Annotated[Component, "latent"] = {"type": "categorical"},
        dynamics: Annotated[Component, "dynamics"] = {"type": "gru_layernorm"},
        reward_head: Annotated[Component, "head"] = {"type": "mse"},
        continue_head: Annotated[Component, "head"] | None = None,
        critic_head: Annotated[Component, "head"] = {"type": "mse"},
        actor: Annotated[Component, "actor"] = {"type": "truncated_normal"},
        hidden: PositiveInt | None = None,
        act: Activation = "elu",
        norm: Norm = "none",
        init: Init = "glorot",
        imagine_horizon: Annotated[int, Ge(2)] = 15,
        discount: UnitInterval = 0.99,
        return_lambda: UnitInterval = 0.95,
        kl_scale: NonNegativeFloat = 1.0,
        kl_balance: UnitInterval = 0.8,
        kl_free: NonNegativeFloat = 1.0,
        kl_free_avg: bool = True,
        kl_forward: bool = False,
        loss_scales: dict[str, NonNegativeFloat] = {},
        detached_heads: list[Literal["decoder", "reward", "continue"]] = [],
        reward_transform: RewardTransform = "identity",
        actor_grad: Literal["auto"] | ActorGradient = "auto",
        actor_grad_mix: UnitInterval = 0.1,
        actor_entropy: NonNegativeFloat = 1e-4,
        slow_critic_every: PositiveInt = 100,
        model_lr: PositiveFloat = 3e-4,
        actor_lr: PositiveFloat = 8e-5,
        critic_lr: PositiveFloat = 8e-5,
        adam_eps: PositiveFloat = 1e-5,
        grad_clip: NonNegativeFloat = 100.0,
        weight_decay: Annotated[float, Ge(0), Lt(1)] = 1e-6,
    ) -> None:
        self._horizon = imagine_horizon
        self._return_lambda = return_lambda
        check_loss_scales(loss_scales, ["reward", "continue", *obs_space])
        self._objective = ActorObjective(
            actor_gradient(actor_grad, act_space), actor_entropy, actor_grad_mix
        )
        networks = build_networks(
            obs_space,
            act_space,
            device=torch.device(device),
            encoder=encoder,
            decoder=decoder,
            latent=latent,
            dynamics=dynamics,
            reward_head=reward_head,
            continue_head=continue_head,
            critic_head=critic_head,
            actor=actor,
            prior_layers=1,
            hidden=hidden,
            act=act,
            norm=norm,
            init=init,
            kl_objective=BalancedKL(kl_balance, kl_free, kl_free_avg, kl_forward),
            detached_heads=detached_heads,
            slow_critic=True,
        )
        super().__init__(
            networks,
            device=torch.device(device),
            discount=discount,
            loss_scales={"kl": kl_scale, **loss_scales},
            reward_transform=reward_transform,
        )
        assert networks.slow_critic is not None
        self._slow_critic = networks.slow_critic
        self._slow_copy = SlowCopy(self.critic, self._slow_critic, every=slow_critic_every)
        adam = {"eps": adam_eps, "clip": grad_clip, "weight_decay": weight_decay}
        self._model_adam = Adam(self.world_model.named_parameters(), lr=model_lr, **adam)
        self._actor_adam = Adam(self.actor.named_parameters(), lr=actor_lr, **adam)
        self._critic_adam = Adam(self.critic.named_parameters(), lr=critic_lr, **adam)

    def _optimizers(self) -> dict[str, Adam]:
        return {
            "model_adam": self._model_adam,
            "actor_adam": self._actor_adam,
            "critic_adam": self._critic_adam,
        }

    def _step(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        metrics, start = self._update_model(data)
        metrics |= self._update_behaviour(start, data["is_terminal"])
        self._slow_copy.update(self._updates)
        return metrics, {}

    def _update_model(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], State]:
        """Take a step on the world model.

        Returns metrics and the posterior states `[B·T, ...]` from before the step.
        """
        with phase("world_model"):
            fit = self._fit(data)
            loss = self._model_loss(fit)
            gradients = self._model_adam.gradients(loss)
        with phase("optimizer"):
            norm = self._model_adam.apply(gradients, loss.detach())
        metrics = {**self._fit_metrics(fit), "loss/model": loss, "grad_norm/model": norm}
        return metrics, fit.observed.state.detach().flatten()

    def _update_behaviour(self, start: State, is_terminal: Tensor) -> dict[str, Tensor]:
        """Take a step on actor and critic, imagining from `start` with the model as it is now."""
        with phase("imagination"):
            trajectory = imagine(
                self.world_model,
                self.actor,
                start,
                self._horizon,
                self._update_rng,
                through_dynamics=self._objective.through_dynamics,
            )
        with phase("actor_critic"):
            actor_loss, value_loss, metrics = self._behaviour_losses(trajectory, is_terminal)
            actor_gradients = self._actor_adam.gradients(actor_loss)
            critic_gradients = self._critic_adam.gradients(value_loss)
        with phase("optimizer"):
            actor_norm = self._actor_adam.apply(actor_gradients, actor_loss.detach())
            critic_norm = self._critic_adam.apply(critic_gradients, value_loss.detach())
        return {
            "loss/actor": actor_loss,
            "loss/critic": value_loss,
            "grad_norm/actor": actor_norm,
            "grad_norm/critic": critic_norm,
            **metrics,
        }

    def _behaviour_losses(
        self, trajectory: Trajectory, is_terminal: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the actor's and the critic's loss, and metrics of what was imagined."""
        model = self.world_model
        with (
            frozen(model, self._slow_critic),
            torch.set_grad_enabled(self._objective.through_dynamics),
        ):
            # Slicing what heads put out is cheaper, in the backward pass, than what they take.
            reward = model.reward_head(trajectory.feat).mean[:-1]
            discount = self._imagined_discount(trajectory.feat, is_terminal.flatten())[:-1]
            value = self._slow_critic(trajectory.feat).mean
            returns = lambda_return(reward, discount, value, self._return_lambda)
        weight = discount_weights(discount.detach())
        # A value contains the reward of its own state, so an action chosen in state t is judged by
        # the return of state t+1, and the action chosen in the last state by nothing.
        actor_loss, actor_metrics = self._objective.loss(
            policy=first_rows(trajectory.policy, self._horizon - 1),
            action=trajectory.action[:-1],
            returns=returns[1:],
            baseline=value[:-2],
            weight=weight[:-1],
        )
        value_loss, mean_value = critic_loss(self.critic, trajectory.feat[:-1], returns, weight)
        metrics = {
            **actor_metrics,
            "critic/value": mean_value,
            "critic/slow_value": value.mean(),
            "critic/target": returns.mean(),
            "imagined/reward": reward.mean(),
            "imagined/discount": discount.mean(),
        }
        return actor_loss, value_loss, metrics

    def _imagined_discount(self, feat: Tensor, is_terminal: Tensor) -> Tensor:
        """Return the discount `[H+1, N]` of what follows each state of `feat` `[H+1, N, F]`.

        That of the start states is known from `is_terminal` `[N]` where the others are predicted.
        """
        if self.world_model.continue_head is None:
            return torch.full(feat.shape[:-1], self._discount, device=feat.device)
        predicted = self.world_model.continue_head(feat).mean
        start = self._discount * (~is_terminal).to(predicted.dtype)
        return torch.cat([start[None], predicted[1:]])
