"""straight_through.npz and actor_dist.npz: samples, gradients, log-probabilities, entropies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from wmrun_envserver.wire import spaces

from tests.golden.archives import ACTOR, Archive, archive, close, close_to_largest, one_hot_noise
from wmrun.actors.categorical import CategoricalActor
from wmrun.actors.truncated_normal import TruncatedNormalActor
from wmrun.nn.distributions import OneHot
from wmrun.nn.truncated_normal import TruncatedNormal

ACTIONS = spaces.Box((3,), low=-1, high=1)


@pytest.mark.parametrize("loss", ["L1", "L2"])
def test_straight_through_gradients(loss: str) -> None:
    data = archive("straight_through")
    index = loss[-1]
    logits = data.tensor("logits", grad=True)
    recorded = data[f"sample{index}"]
    sample = OneHot(logits).sample(one_hot_noise(data["logits"], recorded))
    close(sample, recorded, 1e-6)
    close(logits.softmax(-1), data["probs"], 1e-6)
    value = _linear(sample, data) if loss == "L1" else _nonlinear(sample, data)
    close(value, data[loss], 2e-6)
    value.backward()
    close(logits.grad, data[f"grad{index}"], 2e-6)


def test_one_hot_log_prob_entropy_mode_and_their_gradients() -> None:
    data = archive("straight_through")
    close(OneHot(data.tensor("logits")).mode, data["mode"], 0)
    for name in ("log_prob", "entropy"):
        logits = data.tensor("logits", grad=True)
        one_hot = OneHot(logits)
        per_variable = (
            one_hot.log_prob(data.tensor("sample2")) if name == "log_prob" else one_hot.entropy()
        )
        close(per_variable.sum(-1), data[name], 2e-6)
        per_variable.sum().backward()
        close(logits.grad, data[f"grad_{name}"], 2e-6)


def test_truncated_normal_parameters() -> None:
    data = archive("actor_dist")
    loc, scale = _truncated(data)
    close(loc, data["tn.loc"], 5e-6)
    close(scale, data["tn.scale"], 5e-6)
    close(TruncatedNormal(loc, scale).mode, data["tn.mode"], 5e-6)


def test_truncated_normal_sample_gradient_holds_eps_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = archive("actor_dist")
    monkeypatch.setattr(TruncatedNormal, "standardized", lambda self, noise: noise)
    mean, std = data.tensor("tn.raw_mean", grad=True), data.tensor("tn.raw_std", grad=True)
    sample = _policy(mean, std).sample(data.tensor("tn.eps"))
    close(sample, data["tn.sample"], 5e-6)
    (data.tensor("tn.w") * sample).sum().backward()
    close(mean.grad, data["tn.grad_raw_mean"], 5e-6)
    close(std.grad, data["tn.grad_raw_std"], 5e-6)


def test_truncated_normal_inversion_recovers_the_recorded_eps() -> None:
    data = archive("actor_dist")
    loc, scale, eps = (
        torch.tensor(data[f"tn.{name}"], dtype=torch.float64) for name in ("loc", "scale", "eps")
    )
    low, high, at = (torch.special.ndtr(x) for x in ((-1 - loc) / scale, (1 - loc) / scale, eps))
    found = TruncatedNormal(loc, scale).standardized((at - low) / (high - low))
    close(found, eps, 1e-6)


def test_truncated_normal_clips_with_straight_through_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = archive("actor_dist")
    monkeypatch.setattr(TruncatedNormal, "standardized", lambda self, noise: noise)
    raw = data.tensor("tn.clip_in", grad=True)
    sample = TruncatedNormal(raw, torch.ones_like(raw)).sample(torch.zeros_like(raw))
    close(sample, data["tn.clip_out"], 0)
    (sample * torch.tensor([2.0, 3.0, 4.0])).sum().backward()
    close(raw.grad, data["tn.clip_grad"], 0)


@pytest.mark.parametrize(("what", "short"), [("log_prob", "lp"), ("entropy", "ent")])
def test_truncated_normal_log_prob_and_entropy(what: str, short: str) -> None:
    data = archive("actor_dist")
    mean, std = data.tensor("tn.raw_mean", grad=True), data.tensor("tn.raw_std", grad=True)
    policy = _policy(mean, std)
    value = policy.log_prob(data.tensor("tn.sample")) if what == "log_prob" else policy.entropy()
    close(value.detach(), data[f"tn.{what}"], 1e-5, relative=1e-5)
    value.sum().backward()
    close_to_largest(mean.grad, data[f"tn.grad_{short}_raw_mean"], 1e-5)
    close_to_largest(std.grad, data[f"tn.grad_{short}_raw_std"], 1e-5)


def test_truncated_normal_log_prob_of_given_actions() -> None:
    data = archive("actor_dist")
    log_prob = TruncatedNormal(*_truncated(data)).log_prob(data.tensor("tn.given_action"))
    close(log_prob.detach(), data["tn.given_log_prob"], 1e-5, relative=1e-5)


@pytest.mark.parametrize("what", ["log_prob", "entropy"])
def test_truncated_normal_log_prob_and_entropy_of_each_dimension(what: str) -> None:
    data = archive("actor_dist")
    loc, scale = (part.detach().unsqueeze(-1) for part in _truncated(data))
    each = TruncatedNormal(loc, scale)
    sample = data.tensor("tn.sample").unsqueeze(-1)
    value = each.log_prob(sample) if what == "log_prob" else each.entropy()
    close(value, data[f"tn.{what}_per_dim"], 1e-5, relative=1e-5)


def test_truncated_normal_samples_have_the_mean_of_the_distribution() -> None:
    """Averaged over evenly spaced noise, in float64."""
    data = archive("actor_dist")
    noise = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    policy = TruncatedNormal(*(part.detach().double() for part in _truncated(data)))
    mean = policy.sample(noise.reshape(-1, 1, 1)).mean(0)
    close(mean, data["tn.mean"], 2e-5)


def test_truncated_normal_actor_network() -> None:
    data = archive("actor_dist")
    actor = TruncatedNormalActor(32, ACTIONS, layers=4, units=16)
    data.load(actor, "net.", ACTOR)
    policy = actor(data.tensor("net.feat"))
    close(policy.loc, data["net.loc"], 5e-6)
    close(policy.scale, data["net.scale"], 5e-6)


def test_categorical_actor_network() -> None:
    data = archive("actor_dist")
    actor = CategoricalActor(32, spaces.Discrete(4), layers=4, units=16)
    data.load(actor, "oh.", ACTOR)
    policy = actor(data.tensor("net.feat"))
    close(policy.logits, data["oh.logits"], 5e-6)
    close(policy.log_prob(data.tensor("oh.sample")), data["oh.log_prob"], 1e-5)
    close(policy.entropy(), data["oh.entropy"], 1e-5)
    close(policy.mode, data["oh.mode"], 0)


def _linear(sample: Tensor, data: Archive) -> Tensor:
    return (data.tensor("w") * sample).sum()


def _nonlinear(sample: Tensor, data: Archive) -> Tensor:
    return (data.tensor("v") * torch.tanh(sample.flatten(-2) @ data.tensor("W"))).sum()


def _truncated(data: Archive) -> TruncatedNormal:
    return _policy(data.tensor("tn.raw_mean"), data.tensor("tn.raw_std"))


def _policy(mean: Tensor, std: Tensor) -> TruncatedNormal:
    """Pass raw outputs through the actor's own activations, with its layers taken out."""
    actor = TruncatedNormalActor(6, ACTIONS, layers=0)
    with torch.no_grad():
        for layer, columns in ((actor.out, slice(0, 3)), (actor.std, slice(3, 6))):
            layer.weight.zero_()
            layer.weight[:, columns] = torch.eye(3)
    return actor(torch.cat([mean, std], -1))
