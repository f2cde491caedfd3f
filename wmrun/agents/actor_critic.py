"""The losses of actor and critic on imagined trajectories, and the critic's slow copy.

Rows follow `Trajectory`: state t, the reward and value on arrival in it, the action chosen in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from wmrun_envserver.wire import spaces

from wmrun.actors.base import ActionDistribution, action_leaf
from wmrun.heads.base import Head

ActorGradient = Literal["dynamics", "reinforce", "mix"]


@dataclass(frozen=True)
class ActorObjective:
    """What the actor maximises (V2 section 2.2; agent.py:252-296).

    All objectives are weighted by how likely a state still counts, and have `entropy_scale` times
    the policy's entropy added.

    dynamics: the return, differentiated through the imagined dynamics. reinforce: log π(sg
    a)·sg(return - baseline). mix: `mix` times the first plus `1 - mix` times the second, in which
    the action is not stop-gradiented.
    """

    gradient: ActorGradient
    entropy_scale: float
    mix: float

    @property
    def through_dynamics(self) -> bool:
        """Whether gradients of the return have to reach the actor."""
        return self.gradient != "reinforce"

    def loss(
        self,
        policy: ActionDistribution,
        action: Tensor,
        returns: Tensor,
        baseline: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss and, where entropy has a weight, the policy's mean entropy.

        `policy` has batch shape `[H, N]` and `action` `[H, N, A]` was chosen by it; `returns` `[H,
        N]` begin in the state that the action led to; `baseline` and `weight` `[H, N]` belong to
        the state it was chosen in.
        """
        objective = self._objective(policy, action, returns, baseline)
        if self.entropy_scale == 0:  # an entropy may have to be estimated
            return -(weight * objective).mean(), {}
        entropy = policy.entropy()
        loss = -(weight * (objective + self.entropy_scale * entropy)).mean()
        return loss, {"actor/entropy": entropy.detach().mean()}

    def _objective(
        self, policy: ActionDistribution, action: Tensor, returns: Tensor, baseline: Tensor
    ) -> Tensor:
        advantage = (returns - baseline).detach()
        if self.gradient == "dynamics":
            return returns
        if self.gradient == "reinforce":
            return policy.log_prob(action.detach()) * advantage
        return self.mix * returns + (1 - self.mix) * policy.log_prob(action) * advantage


def critic_loss(
    critic: Head, feat: Tensor, returns: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the scalar loss and the mean value.

    States `feat` are `[H, N, F]`, `returns` and `weight` `[H, N]`.

    Gradients reach the critic only.
    """
    value = critic(feat.detach())
    loss = (weight * value.loss(returns.detach())).mean()
    return loss, value.mean.detach().mean()


def actor_gradient(
    choice: Literal["auto"] | ActorGradient, act_space: spaces.Space
) -> ActorGradient:
    """Return the choice; "auto" is dynamics for continuous actions and reinforce for others."""
    if choice != "auto":
        return choice
    return "dynamics" if isinstance(action_leaf(act_space), spaces.Box) else "reinforce"


class SlowCopy:
    """Copies `live` into `slow` at the first and every `every`-th call (V2 agent.py:327-334).

    Until then `slow` keeps its own initialisation: targets of the first update come from it.
    """

    def __init__(self, live: nn.Module, slow: nn.Module, *, every: int) -> None:
        self._live, self._slow, self._every = live, slow, every
        slow.requires_grad_(False)

    @torch.no_grad()
    def update(self, calls_before: int) -> None:
        """Copy if it is time, given how often this was called before."""
        if calls_before % self._every == 0:
            torch._foreach_copy_(list(self._slow.parameters()), list(self._live.parameters()))


class SlowAverage:
    """Moves `slow` towards `live` by `rate` per update (V3 utils.py:94-127); begins as a copy."""

    def __init__(self, live: nn.Module, slow: nn.Module, *, rate: float) -> None:
        self._live, self._slow, self._rate = live, slow, rate
        slow.requires_grad_(False)
        slow.load_state_dict(live.state_dict())

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(
            list(self._slow.parameters()), list(self._live.parameters()), self._rate
        )
