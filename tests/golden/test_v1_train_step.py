"""train_step*.npz of Dreamer V1: one whole update, from batch to changed parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.archives import Archive, archive, close, close_to_largest
from tests.golden.v1_names import (
    CONTINUE,
    dreamer,
    load_agent,
    parameters,
    parts,
    replay_noise,
    shared,
)
from wmrun.agents.dreamer_v1 import DreamerV1
from wmrun.agents.imagination import imagine

LOSS, STATE, GRADIENT, PARAMETER = 1e-5, 1e-5, 2e-4, 2e-6


def test_control() -> None:
    """Images, no continue head: all 24 states are starts."""
    _check_update(dreamer(), archive("v1/train_step"))


def test_episodes_that_end() -> None:
    """Continue head with scale 10 and soft labels, tanh rewards, no starts from last states."""
    agent = dreamer(continue_head=CONTINUE, reward_transform="tanh")
    _check_update(agent, archive("v1/train_step_pcont"))


def _check_update(agent: DreamerV1, data: Archive) -> None:
    load_agent(agent, data, "before.")
    batch = _batch(data)
    _check_states(agent, data, batch)
    _replay(agent, data)
    metrics = agent.update(batch).metrics
    for ours, official in (("model", "model"), ("actor", "actor"), ("critic", "value")):
        loss, norm = float(data[f"loss.{official}"]), float(data[f"norm.{official}"])
        assert metrics[f"loss/{ours}"] == pytest.approx(loss, rel=LOSS), ours
        assert metrics[f"grad_norm/{ours}"] == pytest.approx(norm, rel=GRADIENT), ours
    _check_parameters(agent, data)


def _check_states(agent: DreamerV1, data: Archive, batch: dict[str, np.ndarray]) -> None:
    """Compare what is observed and what is imagined from there, before anything is updated."""
    _replay(agent, data)
    with torch.no_grad():
        observed = agent._fit(agent._prepare(batch)).observed
        trajectory = imagine(
            agent.world_model,
            agent.actor,
            agent._starts(observed.state),
            5,
            torch.Generator(),
            through_dynamics=False,
        )
    mean, std = agent.world_model.rssm.latent.normal(observed.post)
    found = {"mean": mean, "std": std, "stoch": observed.state.stoch, "deter": observed.state.deter}
    for name, ours in found.items():
        close(ours, data[f"post.{name}"], STATE)
    close(trajectory.feat[1:], data["imag_feat"], STATE)


def _check_parameters(agent: DreamerV1, data: Archive) -> None:
    moments = _first_moments(agent)
    for part, (module, table) in parts(agent).items():
        after = parameters(data, module, f"after.{part}.", table)
        for name, gradient in parameters(data, module, f"grad.{part}.", table).items():
            parameter = module.get_parameter(name)
            # After one step they are a tenth of the clipped gradients.
            close_to_largest(10 * moments[id(parameter)], gradient, GRADIENT)
            # Adam's first step has size lr whatever the gradient's: rounding decides where it is 0.
            clear = np.abs(gradient) > 1e-4
            close(parameter[torch.tensor(clear)], after[name][clear], PARAMETER)


def _first_moments(agent: DreamerV1) -> dict[int, Tensor]:
    state = agent.save()
    owners = {
        "model_adam": agent.world_model,
        "actor_adam": agent.actor,
        "critic_adam": agent.critic,
    }
    return {
        id(parameter): state[f"{adam}.m.{name}"]
        for adam, module in owners.items()
        for name, parameter in module.named_parameters()
    }


def _replay(agent: DreamerV1, data: Archive) -> None:
    latent = agent.world_model.rssm.latent
    observing, imagining = shared(data["noise_observe"][:, 1]), shared(data["noise_stoch"])
    replay_noise(latent, observing, imagining)
    replay_noise(agent.actor, data.tensor("noise_action"))


def _batch(data: Archive) -> dict[str, np.ndarray]:
    is_first = np.zeros((3, 8), bool)
    is_first[:, 0] = True
    return {
        "image": data["data.image"],
        "action": data["data.action"],
        "reward": data["data.reward"],
        "is_first": is_first,
        "is_last": data["data.discount"] == 0,
        "is_terminal": data["data.discount"] == 0,
    }
