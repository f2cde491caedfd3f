"""agent_proprio.npz and agent_pixel.npz: the whole training loss, its gradients, and acting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden import v3_agents, v3_names
from tests.golden.agents import replay_actions, replay_stochs
from tests.golden.archives import Archive, archive, close, close_to_norm
from tests.golden.v3_agents import CONTINUOUS, DISCRETE, HORIZON, IMAGE, VECTOR, Judged, dreamer
from tests.golden.v3_names import one_hot, stoch
from wmrun.actors.bounded_normal import NormalPolicy
from wmrun.agents.dreamer_v3 import DreamerV3, _ImaginedLosses
from wmrun.agents.imagination import Trajectory, imagine
from wmrun.agents.policy import Carry
from wmrun.world_model import Fit, State

FORWARD = 1e-4
NORM, GRADIENT = 1e-3, 1e-4
"""Relative to a gradient's norm."""
TERMS = ["dyn", "rep", "rew", "con", "observation", "policy", "value", "repval", "total"]
LOSSES = {"dyn": "dyn", "rep": "rep", "rew": "reward", "con": "continue"}
"""The world model's losses by their official names."""


@dataclass
class Learnt:
    """One update of an agent, taken apart before it steps."""

    data: Archive
    agent: DreamerV3
    batch: Mapping[str, Tensor]
    fit: Fit
    trajectory: Trajectory
    judged: Judged
    imagined: _ImaginedLosses
    losses: dict[str, Tensor]
    """Mean losses by their official names, unscaled but for their sum, "total"."""


@pytest.fixture(scope="module", params=["proprio", "pixel"])
def learnt(request: pytest.FixtureRequest) -> Learnt:
    with pytest.MonkeyPatch.context() as patch:
        return _learn(archive(f"v3/agent_{request.param}"), patch)


def test_every_weight_is_loaded(learnt: Learnt) -> None:
    slow = v3_names.head("slowval")
    tables = [*v3_agents.trained(learnt.agent).values(), (learnt.agent.critic, slow)]
    ours = {
        f"w/{v3_names.official_name(name, table)}"
        for module, table in tables
        for name, _ in module.named_parameters()
    }
    assert ours == {name for name in learnt.data if name.startswith("w/")}


def test_stored_states_begin_the_sequences(learnt: Learnt) -> None:
    state, rows = learnt.agent._split_context(learnt.agent._prepare(_batch(learnt.data)))
    assert state is not None
    close(state.deter, learnt.data["carry/deter"])
    close(state.stoch, stoch(learnt.data["carry/stoch_idx"]).numpy())
    close(rows["is_first"], learnt.data["data/is_first"])


def test_what_is_observed(learnt: Learnt) -> None:
    data, observed = learnt.data, learnt.fit.observed
    close(learnt.agent.world_model.encoder(learnt.batch), data["rec/tokens"], FORWARD)
    close(observed.state.deter, data["rec/deter"], FORWARD)
    close(observed.state.stoch, stoch(data["rec/stoch_idx"]).numpy(), 1e-6)
    close(observed.post.unflatten(-1, (4, 5)), data["rec/post_logits"], FORWARD)
    close(observed.prior.unflatten(-1, (4, 5)), data["rec/prior_logits"], FORWARD)
    close(observed.state.deter[:, -1], data["carry_out/deter"], FORWARD)
    close(observed.state.stoch[:, -1], stoch(data["carry_out/stoch_idx"]).numpy(), 1e-6)
    (seen,) = learnt.agent.world_model.decoder(observed.state.feat).values()
    if "rec/recon_vector" in data:
        close(seen.mean, data["rec/recon_vector"], FORWARD)
    else:
        close(seen.mean, data["rec/recon_image_u8"].astype(np.float32), 1e-3)


def test_losses_of_the_world_model(learnt: Learnt) -> None:
    data, observed = learnt.data, learnt.fit.observed
    model, feat, targets = learnt.agent.world_model, observed.state.feat, learnt.batch
    kl = model.rssm.latent.kl(observed.post, observed.prior).clamp(min=1)
    (name, seen), *_ = model.decoder(feat).items()
    elements = {
        "dyn": kl,
        "rep": kl,
        "rew": model.reward_head(feat).loss(targets["reward"]),
        "con": model.continue_head(feat).loss(targets["continue"]),
        name: seen.loss(model.decoder.targets(targets)[name]),
    }
    for name, element in elements.items():
        close(element, data[f"loss/{name}"], FORWARD, relative=FORWARD)


def test_what_is_imagined(learnt: Learnt) -> None:
    data, feat = learnt.data, learnt.trajectory.feat
    state, model = learnt.agent.world_model.rssm.state(feat), learnt.agent.world_model
    close(state.deter.transpose(0, 1), data["img/deter"], FORWARD)
    close(state.stoch.transpose(0, 1), stoch(data["img/stoch_idx"]).numpy(), 1e-6)
    action = learnt.trajectory.action.transpose(0, 1)
    close(action, _actions(data["img/act"]).numpy()[:, :-1], 1e-6)
    predicted = {
        "rew": model.reward_head,
        "con": model.continue_head,
        "val": learnt.agent.critic,
        "slowval": learnt.agent.slow_critic,
    }
    for name, head in predicted.items():
        close(head(feat).mean.T, data[f"img/{name}"], FORWARD, relative=FORWARD)


def test_judgements_of_what_is_imagined(learnt: Learnt) -> None:
    data, judged = learnt.data, learnt.judged
    (returns, critic), (replayed, _) = judged.critic
    scale = learnt.agent._return_scale
    assert scale is not None
    elements = {
        "ret": returns,
        "adv": judged.advantage,
        "logp": judged.log_prob,
        "ent": judged.entropy,
        "policy_loss": judged.policy_losses(3e-4),
        "value_loss": judged.weight * critic,
    }
    for name, element in elements.items():
        close(element.T, data[f"img/{name}"], FORWARD, relative=FORWARD)
    close(judged.weight.T, data["img/weight"][:, :-1], FORWARD)
    close(_weight(learnt).T, data["img/weight"], FORWARD)
    close(learnt.imagined.metrics["actor/return_scale"], data["img/scale"], relative=FORWARD)
    close(scale.low, data["state/retnorm_lo_after"], relative=FORWARD)
    close(scale.high, data["state/retnorm_hi_after"], relative=FORWARD)
    first = returns[0].unflatten(0, data["rep/boot"].shape)
    close(first, data["rep/boot"], FORWARD, relative=FORWARD)
    close(replayed, data["rep/ret"], FORWARD, relative=FORWARD)


def test_losses_of_actor_and_critic_by_row(learnt: Learnt) -> None:
    data, judged = learnt.data, learnt.judged
    (_, imagined), (_, replayed) = judged.critic
    shape = data["loss/policy"].shape
    for name, elements in (
        ("policy", judged.policy_losses(3e-4)),
        ("value", judged.weight * imagined),
    ):
        rows = elements.mean(0).unflatten(0, shape)
        close(rows, data[f"loss/{name}"], FORWARD, relative=FORWARD)
    goes_on = (~learnt.batch["is_last"][:, :-1]).float()
    close(goes_on * replayed, data["loss/repval"], FORWARD, relative=FORWARD)


def test_means_and_metrics(learnt: Learnt) -> None:
    data, names = learnt.data, [str(name) for name in learnt.data["loss_names"]]
    close(torch.stack([learnt.losses[n] for n in names]), data["loss_means"], relative=FORWARD)
    for name in names:
        close(learnt.losses[name], data[f"metric/loss/{name}"], relative=FORWARD)
    close(learnt.losses["total"], data["loss_total"], relative=FORWARD)
    logged = learnt.agent._fit_metrics(learnt.fit)
    close(logged["kl/prior_entropy"], data["metric/dyn_ent"], relative=FORWARD)
    close(logged["kl/post_entropy"], data["metric/rep_ent"], relative=FORWARD)
    model, feat = learnt.agent.world_model, learnt.trajectory.feat
    found = v3_agents.metrics(
        learnt.judged,
        reward=model.reward_head(feat).mean,
        continues=model.continue_head(feat).mean,
        value=learnt.agent.critic(feat).mean,
        slow=learnt.agent.slow_critic(feat).mean,
        weight=_weight(learnt),
        scale=learnt.agent._return_scale,
    )
    for name, metric in found.items():
        close(metric, data[f"metric/{name}"], FORWARD, relative=FORWARD)


def test_the_total_is_the_sum_with_the_published_scales(learnt: Learnt) -> None:
    scales = zip(learnt.data["loss_names"], learnt.data["scales"], strict=True)
    total = sum(float(scale) * learnt.losses[str(name)] for name, scale in scales)
    close(learnt.losses["total"], total.detach().numpy(), relative=1e-6)


@pytest.mark.parametrize("term", TERMS)
def test_gradients_of_every_loss(learnt: Learnt, term: str) -> None:
    (observation,) = set(learnt.losses) - set(TERMS)
    term = observation if term == "observation" else term
    parameters = [
        parameter
        for module, _ in v3_agents.trained(learnt.agent).values()
        for parameter in module.parameters()
    ]
    gradients = torch.autograd.grad(
        learnt.losses[term],
        parameters,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    _check_gradients(learnt.agent, learnt.data, term, gradients)


@pytest.mark.parametrize("name", ["proprio", "pixel"])
def test_update_steps_on_the_gradient_of_the_total(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive(f"v3/agent_{name}")
    agent = _replaying_agent(data)
    step, seen = agent._laprop.apply, []

    def apply(gradients: list[Tensor], loss: Tensor) -> Tensor:
        # In the optimiser's order, which is that of `trained`.
        seen.extend(gradients)
        return step(gradients, loss)

    monkeypatch.setattr(agent._laprop, "apply", apply)
    update = agent.update(_batch(data))
    _check_gradients(agent, data, "total", seen)
    total = data["grad_global_norm"][list(data["gn_terms"]).index("total")]
    close(update.metrics["grad_norm/all"], total, relative=NORM)
    means = dict(zip(data["loss_names"], data["loss_means"], strict=True))
    for ours, official in (("actor", "policy"), ("critic", "value"), ("replay_critic", "repval")):
        close(update.metrics[f"loss/{ours}"], means[official], relative=FORWARD)
    rows = update.entries["deter"].astype(np.float32)
    close(torch.tensor(rows), data["rec/deter"], 5e-4)  # half precision
    close(torch.tensor(update.entries["stoch"].astype(np.int32)), data["rec/stoch_idx"])


def test_acting() -> None:
    data = archive("v3/agent_proprio")
    agent = _agent(data)
    policies, forward = [], agent.actor.forward
    replay_stochs(agent.world_model.rssm.latent, one_hot(data["acting/stoch_idx"]).numpy())

    def act(feat: Tensor) -> NormalPolicy:
        policies.append(forward(feat))
        return policies[-1]

    agent.actor.forward = act
    replay_actions(agent.actor, data["acting/act"])
    carry = Carry(_state(data, "carry"), data.tensor("acting/prevact"))
    obs = {"vector": data["data/vector"][:, 4]}
    action, after = agent.act(obs, data["data/is_first"][:, 4], carry, "eval")
    close(after.state.deter, data["acting/deter"], FORWARD)
    close(after.state.stoch, stoch(data["acting/stoch_idx"]).numpy(), 1e-6)
    close(policies[0].mean, data["acting/mean"], FORWARD)
    close(policies[0].std, data["acting/std"], FORWARD)
    close(torch.tensor(action), data["acting/act"], FORWARD)


def _learn(data: Archive, patch: pytest.MonkeyPatch) -> Learnt:
    agent = _replaying_agent(data)
    judged = Judged(agent, patch)
    state, batch = agent._split_context(agent._prepare(_batch(data)))
    fit = agent._fit(batch, state)
    trajectory = imagine(
        agent.world_model,
        agent.actor,
        fit.observed.state.detach().flatten(),
        HORIZON,
        agent._update_rng,
        through_dynamics=False,
    )
    imagined = agent._imagined_losses(trajectory)
    first_return = imagined.returns[0].unflatten(0, batch["reward"].shape)
    replayed = agent._replay_critic_loss(fit, batch, first_return)
    (observation,) = set(fit.losses) - set(LOSSES.values())
    losses = {official: fit.losses[ours] for official, ours in LOSSES.items()}
    losses |= {
        observation: fit.losses[observation],
        "policy": imagined.actor,
        "value": imagined.critic,
        "repval": replayed,
        "total": agent._model_loss(fit)
        + imagined.actor
        + imagined.critic
        + agent._replay_critic_scale * replayed,
    }
    return Learnt(data, agent, batch, fit, trajectory, judged, imagined, losses)


def _agent(data: Archive) -> DreamerV3:
    agent = dreamer(IMAGE, DISCRETE) if "data/image" in data else dreamer(VECTOR, CONTINUOUS)
    v3_agents.load(agent, data)
    return agent


def _replaying_agent(data: Archive) -> DreamerV3:
    """Return an agent that draws what was recorded."""
    agent = _agent(data)
    replay_stochs(
        agent.world_model.rssm.latent,
        one_hot(data["rec/stoch_idx"]).transpose(0, 1).numpy(),
        one_hot(data["img/stoch_idx"])[:, 1:].transpose(0, 1).numpy(),
    )
    replay_actions(agent.actor, _actions(data["img/act"])[:, :-1].transpose(0, 1).numpy())
    return agent


def _batch(data: Archive) -> dict[str, np.ndarray]:
    """Return the batch after a context row, of which only the stored state counts."""
    rows = {
        name.removeprefix("data/"): data[name]
        for name in data
        if name.startswith("data/") and name != "data/prevact"
    }
    rows["action"] = _actions(data["data/prevact"]).numpy()
    batch = {key: np.concatenate([row[:, -1:], row], 1) for key, row in rows.items()}
    states = {"deter": data["carry/deter"], "stoch": data["carry/stoch_idx"]}
    return batch | {key: np.repeat(state[:, None], 2, 1) for key, state in states.items()}


def _state(data: Archive, group: str) -> State:
    return State(data.tensor(f"{group}/deter"), stoch(data[f"{group}/stoch_idx"]))


def _actions(recorded: np.ndarray) -> Tensor:
    return one_hot(recorded) if recorded.dtype.kind == "i" else torch.tensor(recorded)


def _weight(learnt: Learnt) -> Tensor:
    """Return how much every imagined state `[H+1, N]` counts, the last one too."""
    return learnt.agent._continue(learnt.trajectory.feat).cumprod(0)


def _check_gradients(
    agent: DreamerV3, data: Archive, term: str, gradients: tuple[Tensor, ...] | list[Tensor]
) -> None:
    """Compare all norms, and the gradients that the archive has in full."""
    remaining, norms = iter(gradients), {}
    for module, table in v3_agents.trained(agent).values():
        full = v3_names.arrays(data, module, table, f"grad/{term}/")
        for name, _ in module.named_parameters():
            gradient = next(remaining)
            norms[v3_names.official_name(name, table)] = gradient.norm()
            if name in full:
                close_to_norm(gradient, full[name], GRADIENT)
    row = list(data["gn_terms"]).index(term)
    ours = torch.stack([norms[str(name)] for name in data["gn_params"]])
    close(ours, data["gn"][row], relative=NORM)
    close(ours.norm(), data["grad_global_norm"][row], relative=NORM)
