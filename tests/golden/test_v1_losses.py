"""losses.npz, returns.npz and adam.npz of Dreamer V1, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden.archives import Archive, archive, close
from tests.golden.v1_names import CONTINUE, dreamer
from wmrun.agents.actor_critic import critic_loss
from wmrun.agents.imagination import Trajectory
from wmrun.nn.distributions import Bernoulli, DiagonalNormal, Prediction, UnitNormal
from wmrun.nn.divergence import PlainKL
from wmrun.nn.optimizer import Adam
from wmrun.nn.returns import lambda_return
from wmrun.nn.tanh_normal import TanhNormal
from wmrun.world_model import Fit, Observed, State

RELATIVE = 1e-6


@pytest.mark.parametrize("variant", ["nopcont", "pcont"])
@pytest.mark.parametrize("level", ["above", "below"])
def test_model_loss_with_free_nats_on_the_mean(level: str, variant: str) -> None:
    data = archive("v1/losses")
    names = ("post_mean", "post_std", "prior_mean", "prior_std")
    leaves = [
        data.tensor(name if name.startswith("post") else f"{level}.{name}", grad=True)
        for name in names
    ]
    post, prior = torch.cat(leaves[:2], -1), torch.cat(leaves[2:], -1)
    losses, value = PlainKL(3.0)(_kl, post, prior)
    _close(value, data[f"{level}.kl"])
    _close(value.mean(), data[f"{level}.kl_mean"])
    _close(losses["kl"], data[f"{level}.div"])

    losses |= {name: -data.tensor(f"like_{name}").mean() for name in ("image", "reward")}
    agent = dreamer(kl_scale=0.7 if variant == "pcont" else 1.0)
    if variant == "pcont":
        target = 0.99 * data.tensor("disc")
        losses["continue"] = Bernoulli(data.tensor("pcont_logit")).loss(target).mean()
    state = State(torch.empty(0), torch.empty(0))
    total = agent._model_loss(Fit(losses, Observed(state, post, prior), value))
    _close(total, data[f"{level}.{variant}.model_loss"])
    total.backward()
    for leaf, name in zip(
        leaves, ("post_mean", "post_std", "prior_mean", "prior_std"), strict=True
    ):
        _close(leaf.grad, data[f"{level}.{variant}.grad_{name}"])


@pytest.mark.parametrize("variant", ["nopcont", "pcont"])
def test_actor_and_value_loss(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive("v1/losses")
    agent = dreamer(continue_head=CONTINUE if variant == "pcont" else None)
    leaves = [data.tensor(f"imag_{n}", grad=True) for n in ("reward", "value", "pcont_logit")]
    agent.world_model.reward_head = _Given(leaves[0])
    agent.critic = _Given(leaves[1])
    if variant == "pcont":
        agent.world_model.continue_head = _Given(leaves[2], Bernoulli)
    policy = TanhNormal(torch.zeros(5, 24, 3), torch.ones(5, 24, 3))
    trajectory = Trajectory(torch.zeros(6, 24, 18), torch.zeros(5, 24, 3), policy)
    seen = _record_critic_loss(monkeypatch)
    actor_loss, value_loss, _ = agent._behaviour_losses(trajectory)
    _close(seen["returns"], data[f"ac.{variant}.returns"])
    _close(seen["weight"], data[f"ac.{variant}.weight"])
    for loss, name in ((actor_loss, "actor"), (value_loss, "value")):
        _close(loss, data[f"ac.{variant}.{name}_loss"])
        gradients = torch.autograd.grad(
            loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        _close(torch.stack(gradients, -1), data[f"ac.{variant}.grad_{name}"])


@pytest.mark.parametrize("lambda_", ["0.0", "0.5", "0.95", "1.0"])
@pytest.mark.parametrize("discount", ["varying", "const"])
def test_lambda_returns(lambda_: str, discount: str) -> None:
    data = archive("v1/returns")
    pcont = data.tensor("pcont")
    factor = pcont if discount == "varying" else torch.full_like(pcont, 0.99)
    ours = lambda_return(data.tensor("reward"), factor, _values(data), float(lambda_))
    close(ours, data[f"ret.{discount}.lam{lambda_}"], 2e-6)


def test_lambda_returns_without_bootstrap_and_with_the_other_axis_in_time() -> None:
    data = archive("v1/returns")
    reward, pcont, value = data.tensor("reward"), data.tensor("pcont"), _values(data)
    close(lambda_return(reward, pcont, value, 0.95).T, data["ret.axis1"], 2e-6)
    value[-1] = 0
    close(lambda_return(reward, pcont, value, 0.95), data["ret.nobootstrap"], 2e-6)


def test_gradients_of_lambda_returns() -> None:
    data = archive("v1/returns")
    names = ("reward", "value", "pcont", "bootstrap")
    leaves = {name: data.tensor(name, grad=True) for name in names}
    value = torch.cat([leaves["value"], leaves["bootstrap"][None]])
    returns = lambda_return(leaves["reward"], leaves["pcont"], value, 0.95)
    (data.tensor("w") * returns).sum().backward()
    for name, leaf in leaves.items():
        close(leaf.grad, data[f"grad.{name}"], 2e-6)


@pytest.mark.parametrize(
    ("setting", "lr", "clip"),
    [("lr6e-4_clip100", 6e-4, 100.0), ("lr8e-5_clip1", 8e-5, 1.0), ("lr1e-2_noclip", 1e-2, 0.0)],
)
def test_five_steps_of_adam(setting: str, lr: float, clip: float) -> None:
    data = archive("v1/adam")
    a, b = nn.Parameter(data.tensor("a0")), nn.Parameter(data.tensor("b0"))
    adam = Adam({"a": a, "b": b}.items(), lr=lr, eps=1e-7, clip=clip, weight_decay=0.0)
    for step in range(5):
        norm = adam.apply([data.tensor("grad_a")[step], data.tensor("grad_b")[step]])
        close(a, data[f"{setting}.a"][step], 5e-7)
        close(b, data[f"{setting}.b"][step], 5e-7)
        close(norm, data[f"{setting}.norm"][step], relative=1e-6)
    assert data["wd_effect"] == 0  # why DreamerV1 has no weight decay


class _Given(nn.Module):
    """A head that returns what is given for imagined states 1..H, whatever the features are."""

    def __init__(self, values: Tensor, family: type[Prediction] | None = None) -> None:
        super().__init__()
        self._values, self._family = values, family

    def forward(self, feat: Tensor) -> Prediction:
        start = torch.zeros_like(self._values[:1])
        rows = self._values[:-1] if len(feat) == 4 else torch.cat([start, self._values])
        return self._family(rows) if self._family else UnitNormal(rows, event_dims=0)


def _record_critic_loss(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def record(
        critic: nn.Module, feat: Tensor, returns: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen.update(returns=returns, weight=weight)
        return critic_loss(critic, feat, returns, weight)

    monkeypatch.setattr("wmrun.agents.partwise.critic_loss", record)
    return seen


def _values(data: Archive) -> Tensor:
    return torch.cat([data.tensor("value"), data.tensor("bootstrap")[None]])


def _kl(first: Tensor, second: Tensor) -> Tensor:
    return DiagonalNormal(*first.chunk(2, -1)).kl(DiagonalNormal(*second.chunk(2, -1)))


def _close(ours: Tensor | None, official: np.ndarray) -> None:
    """Compare with a tolerance that is relative for numbers above 1 and absolute below."""
    ours = torch.zeros(official.shape) if ours is None else ours.detach()
    close(ours.numpy(), official, RELATIVE, relative=RELATIVE)
