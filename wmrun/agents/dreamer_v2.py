"""Dreamer V2 (Hafner et al. 2021, arXiv 2010.02193; danijar/dreamerv2 at 07d906e)."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun import registry
from wmrun.actors.base import Actor, action_leaf, action_size
from wmrun.agents.actor_critic import ActorObjective, SlowCopy, critic_loss
from wmrun.agents.base import ActMode, Agent, Metrics, ObsSpace
from wmrun.agents.batch import to_tensors
from wmrun.agents.imagination import discount_weights, first_rows, frozen, imagine
from wmrun.agents.metrics import gather
from wmrun.agents.policy import Carry, Policy
from wmrun.agents.training_state import join, restore_generator, split
from wmrun.errors import ComponentError
from wmrun.heads.base import Head
from wmrun.nn.divergence import BalancedKL
from wmrun.nn.layers import Activation, Norm
from wmrun.nn.optimizer import Adam
from wmrun.nn.returns import lambda_return
from wmrun.registry import Component
from wmrun.registry.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from wmrun.spelling import closest
from wmrun.world_model import RSSM, State, WorldModel


class DreamerV2(Agent):
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
        actor_grad_mix: share of the dynamics gradient in "both".
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
        reward_transform: Literal["identity", "tanh"] = "identity",
        actor_grad: Literal["auto", "dynamics", "reinforce", "both"] = "auto",
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
        _check_obs_space(obs_space)
        if imagine_horizon < 2:
            raise ComponentError(
                f"agent.imagine_horizon is {imagine_horizon}, "
                "but the actor's loss needs at least 2 steps"
            )
        _check_loss_scales(loss_scales, obs_space)
        self._device = torch.device(device)
        self._horizon = imagine_horizon
        self._discount = discount
        self._return_lambda = return_lambda
        self._reward_transform = torch.tanh if reward_transform == "tanh" else torch.clone
        self._loss_scales = {"kl": kl_scale, **loss_scales}
        self._objective = ActorObjective(
            _actor_gradient(actor_grad, act_space), actor_entropy, actor_grad_mix
        )

        encode = registry.build("encoder", encoder, obs_space)
        family = registry.build("latent", latent)
        path = registry.build("dynamics", dynamics, family.flat_size, action_size(act_space))
        width = path.deter_size if hidden is None else hidden
        rssm = RSSM(family, path, encode.embed_size, hidden=width, act=act, norm=norm)
        feat = rssm.feat_size
        self.world_model = WorldModel(
            encoder=encode,
            rssm=rssm,
            decoder=registry.build(
                "decoder", decoder, obs_space, family.flat_size, path.deter_size
            ),
            reward_head=registry.build("head", reward_head, feat),
            continue_head=registry.build("head", continue_head, feat) if continue_head else None,
            kl_objective=BalancedKL(kl_balance, kl_free, kl_free_avg, kl_forward),
            detached_heads=frozenset(detached_heads),
        ).to(self._device)
        self.actor: Actor = registry.build("actor", actor, feat, act_space).to(self._device)
        self.critic: Head = registry.build("head", critic_head, feat).to(self._device)
        self.slow_critic: Head = registry.build("head", critic_head, feat).to(self._device)
        self._slow_copy = SlowCopy(self.critic, self.slow_critic, every=slow_critic_every)
        self._updates = 0

        adam = {"eps": adam_eps, "clip": grad_clip, "weight_decay": weight_decay}
        self._model_adam = Adam(self.world_model.named_parameters(), lr=model_lr, **adam)
        self._actor_adam = Adam(self.actor.named_parameters(), lr=actor_lr, **adam)
        self._critic_adam = Adam(self.critic.named_parameters(), lr=critic_lr, **adam)
        # Streams of their own for acting and learning: evaluations do not change what is learnt.
        self._act_rng = _new_generator(self._device)
        self._update_rng = _new_generator(self._device)
        self._eval_rng = _new_generator(self._device)
        generators: dict[ActMode, torch.Generator]
        generators = {"train": self._act_rng, "eval": self._eval_rng}
        self._policy = Policy(self.world_model, self.actor, generators)

    def initial_carry(self, num_envs: int) -> Carry:
        return self._policy.initial_carry(num_envs)

    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Carry, mode: ActMode
    ) -> tuple[np.ndarray, Carry]:
        return self._policy.act(obs, is_first, carry, mode)

    def seed_evaluation(self, seed: int) -> None:
        self._eval_rng.manual_seed(seed)

    def update(self, batch: Mapping[str, np.ndarray]) -> Metrics:
        data = self._prepare(batch)
        metrics, start = self._update_model(data)
        metrics |= self._update_behaviour(start, data["is_terminal"])
        self._slow_copy.update(self._updates)
        self._updates += 1
        return gather(metrics, self._updates)

    def save(self) -> dict[str, Tensor]:
        parts = {
            "world_model": self.world_model.state_dict(),
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "slow_critic": self.slow_critic.state_dict(),
            "model_adam": self._model_adam.save(),
            "actor_adam": self._actor_adam.save(),
            "critic_adam": self._critic_adam.save(),
            "rng": {"act": self._act_rng.get_state(), "update": self._update_rng.get_state()},
            "count": {"updates": torch.tensor(self._updates)},
        }
        return join(parts)

    def load(self, state: Mapping[str, Tensor]) -> None:
        parts = split(state, expected=self.save())
        self.world_model.load_state_dict(parts["world_model"])
        self.actor.load_state_dict(parts["actor"])
        self.critic.load_state_dict(parts["critic"])
        self.slow_critic.load_state_dict(parts["slow_critic"])
        self._model_adam.load(parts["model_adam"])
        self._actor_adam.load(parts["actor_adam"])
        self._critic_adam.load(parts["critic_adam"])
        restore_generator(self._act_rng, parts["rng"]["act"])
        restore_generator(self._update_rng, parts["rng"]["update"])
        self._updates = int(parts["count"]["updates"])

    def parameter_counts(self) -> dict[str, int]:
        modules = {"world_model": self.world_model, "actor": self.actor, "critic": self.critic}
        return {
            name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()
        }

    def _prepare(self, batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        data = to_tensors(batch, self._device)
        data["reward"] = self._reward_transform(data["reward"])
        # The soft label: what the continue head predicts already contains the discount.
        data["continue"] = self._discount * (~data["is_terminal"]).to(torch.float32)
        return data

    def _update_model(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], State]:
        """Take a step on the world model.

        Returns metrics and the posterior states `[B·T, ...]` from before the step.
        """
        batch, time = data["is_first"].shape
        rssm = self.world_model.rssm
        fit = self.world_model.fit(data, rssm.noise((time, batch), self._update_rng))
        scaled = [self._loss_scales.get(name, 1.0) * part for name, part in fit.losses.items()]
        loss = torch.stack(scaled).sum()
        norm = self._model_adam.step(loss)
        with torch.no_grad():
            metrics = {f"loss/{name}": part for name, part in fit.losses.items()}
            metrics |= {
                "loss/model": loss,
                "grad_norm/model": norm,
                "kl/value": fit.kl.mean(),
                "kl/prior_entropy": rssm.latent.entropy(fit.observed.prior).mean(),
                "kl/post_entropy": rssm.latent.entropy(fit.observed.post).mean(),
            }
        return metrics, fit.observed.state.detach().flatten()

    def _update_behaviour(self, start: State, is_terminal: Tensor) -> dict[str, Tensor]:
        """Take a step on actor and critic, imagining from `start` with the model as it is now."""
        model, through = self.world_model, self._objective.through_dynamics
        with frozen(model):
            trajectory = imagine(
                model.rssm,
                self.actor,
                start,
                self._horizon,
                self._update_rng,
                through_dynamics=through,
            )
            with torch.set_grad_enabled(through):
                # Slicing what heads put out is cheaper, in the backward pass, than what they take.
                reward = model.reward_head(trajectory.feat).mean[:-1]
                discount = self._imagined_discount(trajectory.feat, is_terminal.flatten())[:-1]
                value = self.slow_critic(trajectory.feat).mean
                returns = lambda_return(reward, discount, value, self._return_lambda)
        weight = discount_weights(discount.detach())
        # A value contains the reward of its own state, so an action chosen in state t is judged by
        # the return of state t+1, and the action chosen in the last state by nothing.
        actor_loss, entropy = self._objective.loss(
            policy=first_rows(trajectory.policy, self._horizon - 1),
            action=trajectory.action[:-1],
            returns=returns[1:],
            baseline=value[:-2],
            weight=weight[:-1],
        )
        value_loss, mean_value = critic_loss(self.critic, trajectory.feat[:-1], returns, weight)
        return {
            "loss/actor": actor_loss,
            "loss/critic": value_loss,
            "grad_norm/actor": self._actor_adam.step(actor_loss),
            "grad_norm/critic": self._critic_adam.step(value_loss),
            "actor/entropy": entropy,
            "critic/value": mean_value,
            "critic/slow_value": value.mean(),
            "critic/target": returns.mean(),
            "imagined/reward": reward.mean(),
            "imagined/discount": discount.mean(),
        }

    def _imagined_discount(self, feat: Tensor, is_terminal: Tensor) -> Tensor:
        """Return the discount `[H+1, N]` of what follows each state of `feat` `[H+1, N, F]`.

        That of the start states is known from `is_terminal` `[N]` where the others are predicted.
        """
        if self.world_model.continue_head is None:
            return torch.full(feat.shape[:-1], self._discount, device=feat.device)
        predicted = self.world_model.continue_head(feat).mean
        start = self._discount * (~is_terminal).to(predicted.dtype)
        return torch.cat([start[None], predicted[1:]])


def _actor_gradient(
    choice: Literal["auto", "dynamics", "reinforce", "both"], act_space: spaces.Space
) -> Literal["dynamics", "reinforce", "both"]:
    if choice != "auto":
        return choice
    return "reinforce" if isinstance(action_leaf(act_space), spaces.Discrete) else "dynamics"


def _check_obs_space(obs_space: ObsSpace) -> None:
    if not obs_space:
        raise ComponentError("the environment has no observations to learn from")
    taken = {"action", "reward", "continue", "kl", "is_first", "is_last", "is_terminal"}
    for key in obs_space:
        if key in taken:
            raise ComponentError(
                f"the environment has an observation called {key!r}, a name that training uses",
                hint="Rename it in the environment, or leave it out of the observation.",
            )


def _check_loss_scales(loss_scales: Mapping[str, float], obs_space: ObsSpace) -> None:
    known = ["reward", "continue", *obs_space]
    for name in loss_scales:
        if name not in known:
            near = closest(name, known)
            raise ComponentError(
                f"agent.loss_scales names {name!r}, but the losses are {', '.join(known)}",
                hint=f"Did you mean {near!r}?" if near else "The KL's weight is agent.kl_scale.",
            )


def _new_generator(device: torch.device) -> torch.Generator:
    """Return a generator on `device`, seeded from torch's global one."""
    seed = int(torch.randint(2**62, ()))
    return torch.Generator(device).manual_seed(seed)
