"""Imagined trajectories: the policy acting inside the world model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmrun.actors.base import ActionDistribution, Actor
from wmrun.world_model import State, WorldModel


class Trajectory(NamedTuple):
    """`H` imagined steps from `N` start states, which are row 0."""

    feat: Tensor
    """`[H+1, N, F]`."""
    action: Tensor
    """`[H, N, A]`: action h was chosen in state h and led to state h+1."""
    policy: ActionDistribution
    """The policy in states 0..H-1, as an action distribution of batch shape `[H, N]`."""


def imagine(
    world_model: WorldModel,
    actor: Actor,
    start: State,
    horizon: int,
    generator: torch.Generator,
    *,
    through_dynamics: bool,
) -> Trajectory:
    """Let `actor` act inside the model for `horizon` steps from `start` `[N, ...]`.

    The policy's input is stop-gradiented. If `through_dynamics`, its actions and the states that
    follow are not, and gradients of what is predicted from `feat` reach the actor; else only
    `policy` carries gradients. The model's parameters get none.
    """
    rssm = world_model.rssm
    n = len(start.deter)
    latent_noise = rssm.noise((horizon, n), generator)
    action_noise = actor.noise((horizon, n), generator)
    policies: list[ActionDistribution] = []

    def act(feat: Tensor, step: int) -> Tensor:
        policies.append(actor(feat.detach()))
        return policies[-1].sample(action_noise[step])

    with frozen(world_model), torch.set_grad_enabled(through_dynamics):
        feat, actions = rssm.imagine(start, act, latent_noise)
    # Without gradients through the steps it is faster to ask the actor once more for all of them.
    policy = _stack(policies) if through_dynamics else actor(feat[:-1])
    return Trajectory(feat, actions, policy)


def first_rows(policy: ActionDistribution, count: int) -> ActionDistribution:
    """Return the distribution of the first `count` rows."""
    return type(policy)(*(part[:count] for part in policy))


def discount_weights(discount: Tensor) -> Tensor:
    """Return w_t = Π_{i<t} d_i `[H, N]`: how likely state t is still part of the episode."""
    return torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Record no gradients for the modules' parameters; let them through to the inputs."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _stack(policies: list[ActionDistribution]) -> ActionDistribution:
    return type(policies[0])(*(torch.stack(parts) for parts in zip(*policies, strict=True)))
