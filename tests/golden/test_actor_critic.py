"""actor_critic_*.npz: returns, actor losses in every mode and the critic's loss, with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from tests.golden.archives import ACTOR, HEAD, Archive, Table, archive, close
from wmrun.actors.base import Actor
from wmrun.actors.categorical import CategoricalActor
from wmrun.actors.truncated_normal import TruncatedNormalActor
from wmrun.agents.actor_critic import ActorObjective, critic_loss
from wmrun.agents.imagination import discount_weights
from wmrun.heads.mse import MseHead
from wmrun.nn.returns import lambda_return

VALUE, GRADIENT = 5e-6, 2e-6
MODES = [
    (gradient, scale, suffix)
    for gradient in ("dynamics", "reinforce", "mix")
    for scale, suffix in ((0.002, ""), (0.5, "_bigent"))
]


@pytest.fixture(params=["continuous", "discrete"])
def data(request: pytest.FixtureRequest) -> Archive:
    return archive(f"actor_critic_{request.param}")


def test_lambda_returns_from_slow_values(data: Archive) -> None:
    value = _head(data, "target_critic.")(data.tensor("seq.feat")).mean
    close(value, data["target_value"], VALUE)
    close(_returns(data, value, 0.95), data["target"], VALUE)
    for lambda_ in (0.0, 1.0):
        name = f"target_lam{lambda_:.0f}"
        if name in data:
            close(_returns(data, value, lambda_), data[name], VALUE)


def test_discount_weights(data: Archive) -> None:
    close(discount_weights(data.tensor("seq.discount")), data["seq.weight"], VALUE)


@pytest.mark.parametrize(("gradient", "scale", "suffix"), MODES)
def test_actor_loss(data: Archive, gradient: str, scale: float, suffix: str) -> None:
    actor, table = _actor(data)
    returns, action = data.tensor("target", grad=True), data.tensor("seq.action", grad=True)
    policy = actor(data.tensor("seq.feat")[:4])
    close(policy.entropy(), data["entropy"], VALUE)
    close(policy.log_prob(action[1:5]), data["log_prob"], VALUE)
    loss, metrics = ActorObjective(gradient, scale, mix=0.1).loss(
        policy=policy,
        action=action[1:5],
        returns=returns[1:],
        baseline=data.tensor("target_value")[:4],
        weight=data.tensor("seq.weight")[:4],
    )
    key = "both" if gradient == "mix" else gradient
    close(loss, data[f"{key}{suffix}.loss"], VALUE)
    assert metrics["actor/entropy"].item() == pytest.approx(data["entropy"].mean(), abs=VALUE)
    loss.backward()
    expected = data.parameters(actor, f"{key}{suffix}.grad_actor.", table)
    for name, parameter in actor.named_parameters():
        close(_gradient(parameter), expected[name], GRADIENT)
    if not suffix:
        close(_gradient(returns), data[f"{key}.grad_target"], GRADIENT)
        close(_gradient(action), data[f"{key}.grad_action"], GRADIENT)


def test_critic_loss(data: Archive) -> None:
    critic = _head(data, "critic.")
    feat = data.tensor("seq.feat")
    close(critic(feat).mean, data["critic_value"], VALUE)
    loss, value = critic_loss(
        critic, feat[:5], data.tensor("target"), data.tensor("seq.weight")[:5]
    )
    close(loss, data["critic_loss"], VALUE)
    assert value.item() == pytest.approx(data["critic_value"][:5].mean(), abs=VALUE)
    loss.backward()
    for name, gradient in data.parameters(critic, "grad_critic.", HEAD).items():
        close(critic.get_parameter(name).grad, gradient, GRADIENT)


def _returns(data: Archive, value: Tensor, lambda_: float) -> Tensor:
    reward, discount = data.tensor("seq.reward"), data.tensor("seq.discount")
    return lambda_return(reward[:5], discount[:5], value, lambda_)


def _actor(data: Archive) -> tuple[Actor, Table]:
    actor: Actor
    if "actor.out.std.kernel" in data:
        box = spaces.Box((3,), low=-1, high=1)
        actor, table = TruncatedNormalActor(32, box, layers=2, units=16), ACTOR
    else:
        actor, table = CategoricalActor(32, spaces.Discrete(3), layers=2, units=16), HEAD
    data.load(actor, "actor.", table)
    return actor, table


def _head(data: Archive, prefix: str) -> MseHead:
    head = MseHead(32, layers=2, units=16)
    data.load(head, prefix, HEAD)
    return head


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
