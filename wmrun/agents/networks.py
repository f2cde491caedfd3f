"""Building the networks of a Dreamer from the components that it names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from wmrun_envserver.wire import spaces

from wmrun import registry
from wmrun.actors.base import Actor, action_size
from wmrun.agents.base import ObsSpace
from wmrun.errors import ComponentError
from wmrun.heads.base import Head
from wmrun.nn.divergence import KLObjective
from wmrun.nn.initializers import Init, initialize
from wmrun.nn.layers import Activation, Norm
from wmrun.spelling import closest
from wmrun.world_model import RSSM, WorldModel

Spec = Mapping[str, Any]
"""A component's name under `type`, and its options."""


@dataclass(frozen=True)
class Networks:
    """The networks of one agent, on its device."""

    world_model: WorldModel
    actor: Actor
    critic: Head
    slow_critic: Head | None
    """A second critic, initialised on its own."""


def build_networks(
    obs_space: ObsSpace,
    act_space: spaces.Space,
    *,
    device: torch.device,
    encoder: Spec,
    decoder: Spec,
    latent: Spec,
    dynamics: Spec,
    reward_head: Spec,
    continue_head: Spec | None,
    critic_head: Spec,
    actor: Spec,
    prior_layers: int,
    hidden: int | None,
    act: Activation,
    norm: Norm,
    init: Init,
    kl_objective: KLObjective,
    detached_heads: Collection[str],
    slow_critic: bool,
) -> Networks:
    """Build every network for the spaces of an environment.

    `hidden` is the width of the layers before prior and posterior; None makes it that of `deter`.
    Raises `ComponentError` for a space or a combination that a component cannot serve.
    """
    _check_keys(obs_space)
    encode = registry.build("encoder", encoder, obs_space)
    family = registry.build("latent", latent)
    path = registry.build("dynamics", dynamics, family.flat_size, action_size(act_space))
    rssm = RSSM(
        family,
        path,
        encode.embed_size,
        prior_layers=prior_layers,
        hidden=path.deter_size if hidden is None else hidden,
        act=act,
        norm=norm,
    )
    feat = rssm.feat_size
    world_model = WorldModel(
        encoder=encode,
        rssm=rssm,
        decoder=registry.build("decoder", decoder, obs_space, family.flat_size, path.deter_size),
        reward_head=_head("reward_head", reward_head, feat, "number"),
        continue_head=_head("continue_head", continue_head, feat, "probability")
        if continue_head
        else None,
        kl_objective=kl_objective,
        detached_heads=frozenset(detached_heads),
    )
    networks = Networks(
        world_model,
        registry.build("actor", actor, feat, act_space),
        _head("critic_head", critic_head, feat, "number"),
        _head("critic_head", critic_head, feat, "number") if slow_critic else None,
    )
    for network in (world_model, networks.actor, networks.critic, networks.slow_critic):
        if network is not None:
            if init != "glorot":  # which layers are born with
                initialize(network, init)
            network.to(device)
    return networks


def check_loss_scales(loss_scales: Mapping[str, float], known: Collection[str]) -> None:
    """Raise `ComponentError` when a scale has a name that no loss has."""
    for name in loss_scales:
        if name not in known:
            near = closest(name, list(known))
            raise ComponentError(
                f"agent.loss_scales names {name!r}, but the losses are {', '.join(known)}",
                hint=f"Did you mean {near!r}?" if near else "The KL's weight is agent.kl_scale.",
            )


def _head(
    option: str, spec: Spec, feat_size: int, wanted: Literal["number", "probability"]
) -> Head:
    head: Head = registry.build("head", spec, feat_size)
    if head.predicts != wanted:
        likely = "bernoulli" if wanted == "probability" else "mse or two_hot"
        raise ComponentError(
            f"agent.{option} is {spec['type']}, which predicts a {head.predicts}, "
            f"but this head has to predict a {wanted}",
            hint=f"Set agent.{option}.type: {likely}.",
        )
    return head


def _check_keys(obs_space: ObsSpace) -> None:
    if not obs_space:
        raise ComponentError("the environment has no observations to learn from")
    taken = {"action", "reward", "continue", "is_first", "is_last", "is_terminal"}
    taken |= {"kl", "dyn", "rep", "actor", "critic", "model", "deter", "stoch"}
    for key in obs_space:
        if key in taken:
            raise ComponentError(
                f"the environment has an observation called {key!r}, a name that training uses",
                hint="Rename it in the environment, or leave it out of the observation.",
            )
