"""What Dreamer V1 and V2 share: each part learns with an Adam of its own, values contain rewards.

In both, a value contains the reward of its own state, so an action chosen in state t is judged by
the return of state t+1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from wmrun.agents.actor_critic import ActorObjective, SlowCopy, critic_loss
from wmrun.agents.dreamer import Dreamer, RewardTransform
from wmrun.agents.imagination import Trajectory, discount_weights, first_rows, frozen, imagine
from wmrun.agents.networks import Networks
from wmrun.agents.phases import phase
from wmrun.agents.policy import Exploration
from wmrun.nn.optimizer import Adam
from wmrun.nn.returns import lambda_return
from wmrun.world_model import Fit, State

Part = Literal["model", "actor", "critic"]


class PartGradient(NamedTuple):
    """The gradient of one part's loss, not yet stepped on."""

    part: Part
    loss: Tensor
    values: tuple[Tensor, ...]


class PartwiseDreamer(Dreamer):
    """A Dreamer with three losses and three optimisers."""

    _first_judged: ClassVar[Literal[0, 1]]
    """The first row of a trajectory that has a return: 1 where start states are no part of it."""

    def __init__(
        self,
        networks: Networks,
        *,
        device: torch.device,
        objective: ActorObjective,
        horizon: int,
        discount: float,
        return_lambda: float,
        loss_scales: Mapping[str, float],
        reward_transform: RewardTransform,
        exploration: Exploration | None,
        slow_critic_every: int | None,
        lr: Mapping[Part, float],
        adam_eps: float,
        grad_clip: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            networks,
            device=device,
            discount=discount,
            loss_scales=loss_scales,
            reward_transform=reward_transform,
            exploration=exploration,
        )
        self._objective = objective
        self._horizon = horizon
        self._return_lambda = return_lambda
        self._slow_copy = None
        if networks.slow_critic is not None and slow_critic_every is not None:
            self._slow_copy = SlowCopy(self.critic, networks.slow_critic, every=slow_critic_every)
        parts = {"model": self.world_model, "actor": self.actor, "critic": self.critic}
        adam = {"eps": adam_eps, "clip": grad_clip, "weight_decay": weight_decay}
        self._adams = {
            part: Adam(parts[part].named_parameters(), lr=rate, **adam) for part, rate in lr.items()
        }

    def _optimizers(self) -> dict[str, Adam]:
        return {f"{part}_adam": adam for part, adam in self._adams.items()}

    def _explain(self, data: Mapping[str, Tensor]) -> tuple[Fit, PartGradient]:
        """Return how the world model explains the batch, and its gradient."""
        with phase("world_model"):
            fit = self._fit(data)
            return fit, self._differentiate("model", self._model_loss(fit))

    def _behave(
        self, start: State, is_terminal: Tensor | None = None
    ) -> tuple[PartGradient, PartGradient, dict[str, Tensor]]:
        """Return the gradients of actor and critic, imagining from `start` `[N, ...]`, and metrics.

        `is_terminal` `[N]` is needed where start states are judged.
        """
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
            actor = self._differentiate("actor", actor_loss)
            return actor, self._differentiate("critic", value_loss), metrics

    def _apply(self, *gradients: PartGradient) -> dict[str, Tensor]:
        """Step on the gradients; return losses and norms."""
        with phase("optimizer"):
            norms = {
                f"grad_norm/{part}": self._adams[part].apply(values, loss.detach())
                for part, loss, values in gradients
            }
        return {**{f"loss/{part}": loss for part, loss, _ in gradients}, **norms}

    def _copy_critic(self) -> None:
        """Copy the critic to the slow critic, if there is one and it is time."""
        if self._slow_copy is not None:
            self._slow_copy.update(self._updates)

    def _behaviour_losses(
        self, trajectory: Trajectory, is_terminal: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the actor's and the critic's loss, and metrics of what was imagined."""
        model, first = self.world_model, self._first_judged
        judge = self.critic if self.slow_critic is None else self.slow_critic
        with frozen(model, judge), torch.set_grad_enabled(self._objective.through_dynamics):
            # Slicing what heads put out is cheaper, in the backward pass, than what they take.
            reward = model.reward_head(trajectory.feat).mean[first:-1]
            discount = self._imagined_discount(trajectory.feat, is_terminal)[first:-1]
            value = judge(trajectory.feat).mean
            returns = lambda_return(reward, discount, value[first:], self._return_lambda)
        weight = discount_weights(discount.detach())
        # The action chosen in the last state is judged by nothing.
        judged = self._horizon - 1
        actor_loss, actor_metrics = self._objective.loss(
            policy=first_rows(trajectory.policy, judged),
            action=trajectory.action[:judged],
            returns=returns[1 - first :],
            baseline=value[:judged],
            weight=weight[:judged],
        )
        value_loss, mean_value = critic_loss(
            self.critic, trajectory.feat[first:-1], returns, weight
        )
        metrics = {
            **actor_metrics,
            "critic/value": mean_value,
            "critic/target": returns.mean(),
            "imagined/reward": reward.mean(),
            "imagined/discount": discount.mean(),
        }
        if self.slow_critic is not None:
            metrics["critic/slow_value"] = value.mean()
        return actor_loss, value_loss, metrics

    def _imagined_discount(self, feat: Tensor, is_terminal: Tensor | None = None) -> Tensor:
        """Return the discount `[H+1, N]` of what follows each state of `feat` `[H+1, N, F]`.

        Where there is a continue head, that of the start states is known from `is_terminal` `[N]`.
        """
        if self.world_model.continue_head is None:
            return torch.full(feat.shape[:-1], self._discount, device=feat.device)
        predicted = self.world_model.continue_head(feat).mean
        if is_terminal is None:
            return predicted
        start = self._discount * (~is_terminal).to(predicted.dtype)
        return torch.cat([start[None], predicted[1:]])

    def _differentiate(self, part: Part, loss: Tensor) -> PartGradient:
        return PartGradient(part, loss, self._adams[part].gradients(loss))
