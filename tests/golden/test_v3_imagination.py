"""imag_loss_cont.npz and imag_loss_disc.npz: actor and critic on given predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from tests.golden import v3_agents
from tests.golden.archives import Archive, archive, close
from tests.golden.v3_agents import CONTINUOUS, DISCRETE, VECTOR, Judged, Recorded, dreamer
from tests.golden.v3_names import one_hot
from wmrun.actors.base import Actor
from wmrun.actors.bounded_normal import BoundedNormalActor
from wmrun.actors.categorical import CategoricalActor
from wmrun.agents.dreamer_v3 import DreamerV3, _ImaginedLosses
from wmrun.agents.imagination import Trajectory
from wmrun.nn.two_hot import TwoHot, symexp_bins

VALUE, GRADIENT = 1e-4, 1e-4
SEQUENCES, STEPS = 6, 5
UPDATES = 3
SPACES = {"cont": CONTINUOUS, "disc": DISCRETE}
VARIANT = {
    "discount": 0.9,
    "continue_discount": False,
    "slow_critic_targets": True,
    "return_lambda": 0.8,
    "actor_entropy": 0.1,
    "slow_critic_scale": 0.5,
}


@dataclass
class Judgement:
    """The losses of one update, and what they are made of; `raw` and `logits` are leaves."""

    agent: DreamerV3
    judged: Judged
    losses: _ImaginedLosses
    predictions: dict[str, Tensor]
    """Means `[H+1, N]` by their official names."""
    raw: Tensor
    logits: Tensor
    tolerance: float
    """Of the logits' gradients."""


@pytest.fixture(params=["recorded", "ours"])
def bins(request: pytest.FixtureRequest) -> Tensor:
    """The original's bins and ours differ by rounding, to which small gradients are sensitive."""
    ours = symexp_bins(255)
    return archive("v3/transforms").tensor("twohot_bins") if request.param == "recorded" else ours


@pytest.mark.parametrize("family", SPACES)
def test_three_updates(family: str, bins: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    data, agent = archive(f"v3/imag_loss_{family}"), dreamer(VECTOR, SPACES[family])
    for update in range(UPDATES):
        with monkeypatch.context() as patch:
            judgement = _judge(agent, data, update, bins, patch)
            _check(judgement, data, "", update, entropy_scale=3e-4)


@pytest.mark.parametrize("family", SPACES)
def test_discount_outside_the_continue_head_and_slow_targets(
    family: str, bins: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive(f"v3/imag_loss_{family}")
    agent = dreamer(VECTOR, SPACES[family], **VARIANT)
    judgement = _judge(agent, data, 0, bins, monkeypatch)
    _check(judgement, data, "variant/", ..., entropy_scale=0.1)


class Known(NamedTuple):
    """A prediction whose mean is given."""

    mean: Tensor


def _judge(
    agent: DreamerV3, data: Archive, update: int, bins: Tensor, patch: pytest.MonkeyPatch
) -> Judgement:
    """Let the agent judge imagined states whose `feat` is the number of their predictions."""
    judged = Judged(agent, patch)
    heads = {name: Recorded(_rows(data, name, update), Known) for name in ("rew", "con")}
    heads |= {
        name: Recorded(_rows(data, name, update), lambda logits: TwoHot(logits, bins))
        for name in ("val_logits", "slow_logits")
    }
    agent.world_model.reward_head = heads["rew"]
    agent.world_model.continue_head = heads["con"]
    agent.critic = heads["val_logits"]
    agent._slow_critic = heads["slow_logits"]
    feat = torch.arange(float((STEPS + 1) * SEQUENCES)).view(STEPS + 1, SEQUENCES, 1)
    discrete = "pol_logits" in data
    names = ["pol_logits"] if discrete else ["pol_mean_raw", "pol_std_raw"]
    raw = torch.cat([_time_first(data, name, update) for name in names], -1).requires_grad_()
    action = one_hot(data["act"][update]) if discrete else data.tensor("act")[update]
    policy = _actor(DISCRETE if discrete else CONTINUOUS)(raw[:-1])
    losses = agent._imagined_losses(Trajectory(feat, action.transpose(0, 1)[:-1], policy))
    means = ("rew", "con", "val", "slowval")
    predictions = dict(zip(means, (head(feat).mean for head in heads.values()), strict=True))
    tolerance = 5e-8 if torch.equal(bins, symexp_bins(255)) else 2e-8
    return Judgement(agent, judged, losses, predictions, raw, heads["val_logits"].rows, tolerance)


def _check(
    judgement: Judgement, data: Archive, prefix: str, update: Any, *, entropy_scale: float
) -> None:
    agent, judged, losses = judgement.agent, judgement.judged, judgement.losses
    scale = agent._return_scale
    assert scale is not None
    extra = agent._extra_discount
    weight = (extra * judgement.predictions["con"]).cumprod(0) / extra
    ((returns, critic),) = judged.critic
    elements = {
        "weight": judged.weight,
        "weight_full": weight,
        "ret": returns,
        "adv": judged.advantage,
        "logp": judged.log_prob,
        "ent": judged.entropy,
        "val": judgement.predictions["val"],
        "slowval": judgement.predictions["slowval"],
        "policy_loss": judged.policy_losses(entropy_scale),
        "value_loss": judged.weight * critic,
    }
    for name, element in elements.items():
        close(element.T, data[prefix + name][update], VALUE, relative=VALUE)
    close(losses.actor, data[f"{prefix}policy_loss"][update].mean(), 1e-5, relative=VALUE)
    close(losses.critic, data[f"{prefix}value_loss"][update].mean(), relative=VALUE)
    used = losses.metrics["actor/return_scale"]
    numbers = {"ret_offset": scale.low, "norm_lo": scale.low, "norm_hi": scale.high}
    for name, number in (numbers | {"ret_scale": used}).items():
        close(number, data[prefix + name][update], relative=VALUE)
    _check_gradients(judgement, data, prefix, update)
    _check_metrics(judgement, data, prefix, update, weight)


def _check_gradients(judgement: Judgement, data: Archive, prefix: str, update: Any) -> None:
    (raw,) = torch.autograd.grad(judgement.losses.actor, judgement.raw)
    close(raw.transpose(0, 1), data[f"{prefix}grad_policy_raw"][update], 1e-7, relative=GRADIENT)
    (logits,) = torch.autograd.grad(judgement.losses.critic, judgement.logits)
    by_step = logits.view(STEPS + 1, SEQUENCES, -1).transpose(0, 1)
    close(
        by_step, data[f"{prefix}grad_value_logits"][update], judgement.tolerance, relative=GRADIENT
    )


def _check_metrics(
    judgement: Judgement, data: Archive, prefix: str, update: Any, weight: Tensor
) -> None:
    predictions, logged = judgement.predictions, judgement.losses.metrics
    found = v3_agents.metrics(
        judgement.judged,
        reward=predictions["rew"],
        continues=predictions["con"],
        value=predictions["val"],
        slow=predictions["slowval"],
        weight=weight,
        scale=judgement.agent._return_scale,
    )
    assert {f"{prefix}metric/{name}" for name in found} == {
        name for name in data if name.startswith(f"{prefix}metric/")
    }
    for name, metric in found.items():
        close(metric, data[f"{prefix}metric/{name}"][update], 1e-5, relative=VALUE)
    ours = {"critic/target": "tar", "actor/entropy": "ent/action"}
    for name, official in ours.items():
        close(logged[name], data[f"{prefix}metric/{official}"][update], 1e-5, relative=VALUE)


def _rows(data: Archive, name: str, update: int) -> Tensor:
    return _time_first(data, name, update).flatten(0, 1)


def _time_first(data: Archive, name: str, update: int) -> Tensor:
    return data.tensor(name)[update].transpose(0, 1)


def _actor(space: Space) -> Actor:
    """Return an actor whose outputs are its input."""
    actor: CategoricalActor | BoundedNormalActor
    if isinstance(space, Discrete):
        actor = CategoricalActor(space.n, space, layers=0)
        outs = [actor.out]
    else:
        assert isinstance(space, Box)
        actor = BoundedNormalActor(2 * space.shape[0], space, layers=0, units=1)
        outs = [actor.out, actor.std]
    rows = torch.eye(sum(out.weight.shape[0] for out in outs)).chunk(len(outs))
    for out, kernel in zip(outs, rows, strict=True):
        out.weight = nn.Parameter(kernel.clone())
    return actor
