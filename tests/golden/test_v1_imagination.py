"""imagine_grad.npz of Dreamer V1: an imagined rollout, both losses and their gradients."""

from __future__ import annotations

import torch

from tests.golden.archives import archive, close, close_to_largest
from tests.golden.v1_names import HEAD, dreamer, load_agent, parameters, replay_noise, shared
from wmrun.agents.imagination import discount_weights, imagine
from wmrun.world_model import State

FORWARD, GRADIENT = 1e-5, 1e-4


def test_rollout_and_gradients_of_both_losses() -> None:
    data = archive("v1/imagine_grad")
    agent = dreamer()
    load_agent(agent, data)
    model = agent.world_model
    replay_noise(model.rssm.latent, shared(data["noise_stoch"]))
    replay_noise(agent.actor, data.tensor("noise_action"))
    start = State(data.tensor("start.deter"), data.tensor("start.stoch")).flatten()
    trajectory = imagine(model, agent.actor, start, 5, torch.Generator(), through_dynamics=True)
    close(trajectory.feat[1:], data["feat"], FORWARD)
    close(trajectory.action, data["actions"], FORWARD)
    close(model.reward_head(trajectory.feat[1:]).mean, data["reward_pred"], FORWARD)
    close(agent.critic(trajectory.feat[1:]).mean, data["value_pred"], FORWARD)

    discount = agent._imagined_discount(trajectory.feat)[1:-1]
    close(discount_weights(discount), data["weight"], FORWARD)
    actor_loss, value_loss, metrics = agent._behaviour_losses(trajectory)
    close(actor_loss, data["actor_loss"], FORWARD)
    close(value_loss, data["value_loss"], FORWARD)
    close(metrics["critic/target"], data["returns"].mean(), FORWARD)
    for module, loss, name in (
        (agent.actor, actor_loss, "grad_actor."),
        (agent.critic, value_loss, "grad_value."),
    ):
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        official = parameters(data, module, name, HEAD)
        for ours, expected in zip(gradients, official.values(), strict=True):
            close_to_largest(ours, expected, GRADIENT)
