"""Dreamer V1 (Hafner et al. 2020, arXiv 1912.01603; danijar/dreamer at 56d4d44)."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.agents.actor_critic import ActorGradient, ActorObjective
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer import RewardTransform
from wmrun.agents.exploration import exploration_noise
from wmrun.agents.networks import build_networks, check_loss_scales
from wmrun.agents.partwise import PartwiseDreamer
from wmrun.nn.divergence import BalancedKL, PlainKL
from wmrun.nn.initializers import Init
from wmrun.nn.layers import Activation, Norm
from wmrun.registry import Component
from wmrun.registry.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from wmrun.world_model import State


class DreamerV1(PartwiseDreamer):
    """Learns a world model with Gaussian latents, and a policy by gradients through it.

    Defaults are those of the original for DeepMind Control from pixels.

    Args:
        encoder: from observations to embed.
        decoder: from the model state back to observations.
        latent: family of the stochastic state.
        dynamics: deterministic path of the world model.
        reward_head: predicts rewards.
        continue_head: predicts the discount of the next state, 0 after a terminal one; null takes
            `discount` everywhere.
        critic_head: predicts returns.
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
        kl_balance: share of the KL loss that trains the prior, as in Dreamer V2; null trains prior
            and posterior with the whole of it.
        kl_free: free nats, on the batch mean.
        loss_scales: weights of the other model losses, by "reward", "continue" or observation key;
            where not given, 10 for "continue" and 1 for the others.
        detached_heads: parts that learn from the model state without shaping it.
        reward_transform: applied to rewards before anything learns from them.
        actor_grad: how the actor learns.
        actor_grad_mix: share of the dynamics gradient in "mix".
        actor_entropy: weight of the policy's entropy.
        slow_critic_every: updates between copies of the critic to a slow critic that makes the
            targets, as in Dreamer V2; null lets the critic itself make them.
        expl_noise: standard deviation of the noise on continuous actions, or share of discrete ones
            that are random, in training.
        expl_decay: agent steps in which this amount halves; 0 keeps it.
        expl_min: amount that it does not fall below.
        model_lr: learning rate of the world model.
        actor_lr: learning rate of the actor.
        critic_lr: learning rate of the critic.
        adam_eps: Adam's epsilon, added before the bias correction.
        grad_clip: largest global norm of each gradient; 0 does not clip.
    """

    _first_judged = 1

    def __init__(
        self,
        obs_space: ObsSpace,
        act_space: spaces.Space,
        *,
        device: torch.device | str,
        encoder: Annotated[Component, "encoder"] = {
            "type": "multi",
            "image": {"type": "cnn", "depth": 32, "act": "relu"},
        },
        decoder: Annotated[Component, "decoder"] = {
            "type": "multi",
            "image": {"type": "cnn", "depth": 32, "act": "relu"},
        },
        latent: Annotated[Component, "latent"] = {
            "type": "gaussian",
            "size": 30,
            "std_act": "softplus",
            "min_std": 0.1,
            "shared_noise": True,
        },
        dynamics: Annotated[Component, "dynamics"] = {"type": "gru", "deter": 200},
        reward_head: Annotated[Component, "head"] = {"type": "mse", "layers": 2},
        continue_head: Annotated[Component, "head"] | None = None,
        critic_head: Annotated[Component, "head"] = {"type": "mse", "layers": 3},
        actor: Annotated[Component, "actor"] = {
            "type": "auto",
            "continuous": {"type": "tanh_normal"},
        },
        hidden: PositiveInt | None = None,
        act: Activation = "elu",
        norm: Norm = "none",
        init: Init = "glorot",
        imagine_horizon: Annotated[int, Ge(2)] = 15,
        discount: UnitInterval = 0.99,
        return_lambda: UnitInterval = 0.95,
        kl_scale: NonNegativeFloat = 1.0,
        kl_balance: UnitInterval | None = None,
        kl_free: NonNegativeFloat = 3.0,
        loss_scales: dict[str, NonNegativeFloat] = {},
        detached_heads: list[Literal["decoder", "reward", "continue"]] = [],
        reward_transform: RewardTransform = "identity",
        actor_grad: ActorGradient = "dynamics",
        actor_grad_mix: UnitInterval = 0.1,
        actor_entropy: NonNegativeFloat = 0.0,
        slow_critic_every: PositiveInt | None = None,
        expl_noise: NonNegativeFloat = 0.3,
        expl_decay: NonNegativeFloat = 0.0,
        expl_min: NonNegativeFloat = 0.0,
        model_lr: PositiveFloat = 6e-4,
        actor_lr: PositiveFloat = 8e-5,
        critic_lr: PositiveFloat = 8e-5,
        adam_eps: PositiveFloat = 1e-7,
        grad_clip: NonNegativeFloat = 100.0,
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
            kl_objective=PlainKL(kl_free)
            if kl_balance is None
            else BalancedKL(kl_balance, kl_free),
            detached_heads=detached_heads,
            slow_critic=slow_critic_every is not None,
        )
        super().__init__(
            networks,
            device=torch.device(device),
            objective=ActorObjective(actor_grad, actor_entropy, actor_grad_mix),
            horizon=imagine_horizon,
            discount=discount,
            return_lambda=return_lambda,
            loss_scales={"kl": kl_scale, "continue": 10.0, **loss_scales},
            reward_transform=reward_transform,
            exploration=exploration_noise(
                act_space, amount=expl_noise, decay=expl_decay, minimum=expl_min
            ),
            slow_critic_every=slow_critic_every,
            lr={"model": model_lr, "actor": actor_lr, "critic": critic_lr},
            adam_eps=adam_eps,
            grad_clip=grad_clip,
            weight_decay=0.0,
        )

    def _step(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take every gradient at the same parameters, then step on all of them."""
        fit, model = self._explain(data)
        actor, critic, metrics = self._behave(self._starts(fit.observed.state.detach()))
        applied = self._apply(model, actor, critic)
        self._copy_critic()
        return {**self._fit_metrics(fit), **applied, **metrics}, {}

    def _starts(self, states: State) -> State:
        """Return the states `[B, T, ...]` to imagine from, as `[N, ...]`.

        Where episodes end, the last of a sequence may be terminal and is left out (V1
        dreamer.py:270-272).
        """
        if self.world_model.continue_head is not None:
            states = State(states.deter[:, :-1], states.stoch[:, :-1])
        return states.flatten()
