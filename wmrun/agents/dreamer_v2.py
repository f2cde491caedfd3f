"""Dreamer V2 (Hafner et al. 2021, arXiv 2010.02193; danijar/dreamerv2 at 07d906e)."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.agents.actor_critic import ActorGradient, ActorObjective, actor_gradient
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer import RewardTransform
from wmrun.agents.exploration import exploration_noise
from wmrun.agents.networks import build_networks, check_loss_scales
from wmrun.agents.partwise import PartwiseDreamer
from wmrun.nn.divergence import BalancedKL
from wmrun.nn.initializers import Init
from wmrun.nn.layers import Activation, Norm
from wmrun.registry import Component
from wmrun.registry.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval


class DreamerV2(PartwiseDreamer):
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
        expl_noise: standard deviation of the noise on continuous actions, or share of discrete ones
            that are random, in training.
        expl_decay: agent steps in which this amount halves; 0 keeps it.
        expl_min: amount that it does not fall below.
        model_lr: learning rate of the world model.
        actor_lr: learning rate of the actor.
        critic_lr: learning rate of the critic.
        adam_eps: Adam's epsilon, added before the bias correction.
        grad_clip: largest global norm of each gradient; 0 does not clip.
        weight_decay: share by which every parameter shrinks per update, whatever the learning rate.
    """

    _first_judged = 0

    def __init__(
        self,
        obs_space: ObsSpace,
        act_space: spaces.Space,
        *,
        device: torch.device | str,
        encoder: Annotated[Component, "encoder"] = {"type": "multi"},
        decoder: Annotated[Component, "decoder"] = {"type": "multi"},
        latent: Annotated[Component, "latent"] = {"type": "categorical"},
        dynamics: Annotated[Component, "dynamics"] = {"type": "gru_layernorm"},
        reward_head: Annotated[Component, "head"] = {"type": "mse"},
        continue_head: Annotated[Component, "head"] | None = None,
        critic_head: Annotated[Component, "head"] = {"type": "mse"},
        actor: Annotated[Component, "actor"] = {"type": "auto"},
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
        expl_noise: NonNegativeFloat = 0.0,
        expl_decay: NonNegativeFloat = 0.0,
        expl_min: NonNegativeFloat = 0.0,
        model_lr: PositiveFloat = 3e-4,
        actor_lr: PositiveFloat = 8e-5,
        critic_lr: PositiveFloat = 8e-5,
        adam_eps: PositiveFloat = 1e-5,
        grad_clip: NonNegativeFloat = 100.0,
        weight_decay: Annotated[float, Ge(0), Lt(1)] = 1e-6,
    ) -> None:
        check_loss_scales(loss_scales, ["reward", "continue", *obs_space])
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
            objective=ActorObjective(
                actor_gradient(actor_grad, act_space), actor_entropy, actor_grad_mix
            ),
            horizon=imagine_horizon,
            discount=discount,
            return_lambda=return_lambda,
            loss_scales={"kl": kl_scale, **loss_scales},
            reward_transform=reward_transform,
            exploration=exploration_noise(
                act_space, amount=expl_noise, decay=expl_decay, minimum=expl_min
            ),
            slow_critic_every=slow_critic_every,
            lr={"model": model_lr, "actor": actor_lr, "critic": critic_lr},
            adam_eps=adam_eps,
            grad_clip=grad_clip,
            weight_decay=weight_decay,
        )

    def _step(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Step on the world model, imagine with it as it is then, step on actor and critic."""
        fit, model = self._explain(data)
        metrics = {**self._fit_metrics(fit), **self._apply(model)}
        start = fit.observed.state.detach().flatten()
        actor, critic, imagined = self._behave(start, data["is_terminal"].flatten())
        metrics |= self._apply(actor, critic) | imagined
        self._copy_critic()
        return metrics, {}
