"""actor_dist.npz of Dreamer V1, and the tanh-normal of V2's: samples, densities, estimates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.golden.archives import Archive, archive, close, close_to_largest, one_hot_noise
from tests.golden.v1_names import ACTIONS, HEAD, load
from wmrun.actors.tanh_normal import TanhNormalActor
from wmrun.nn.distributions import OneHot
from wmrun.nn.tanh_normal import TanhNormal, clamped_atanh, log_tanh_slope

VALUE = 1e-5


@pytest.fixture
def data() -> Archive:
    return archive("v1/actor_dist")


@pytest.mark.parametrize("prefix", ["", "extreme."])
def test_mean_and_std_from_raw_outputs(data: Archive, prefix: str) -> None:
    policy = _policy(data.tensor(f"{prefix}raw"))
    close(policy.mean, data[f"{prefix}mean"], VALUE)
    close(policy.std, data[f"{prefix}std"], VALUE)


def test_sample_and_its_gradient(data: Archive) -> None:
    raw = data.tensor("raw", grad=True)
    sample = _policy(raw).sample(data.tensor("noise"))
    close(sample, data["sample"], VALUE)
    (data.tensor("w") * sample).sum().backward()
    close(raw.grad, data["grad.raw"], VALUE)


def test_log_prob_of_an_own_sample(data: Archive) -> None:
    log_prob = _policy(data.tensor("raw")).log_prob(data.tensor("sample")).detach()
    close(log_prob, data["sample_log_prob"], VALUE, relative=VALUE)


def test_log_prob_of_given_actions_up_to_the_bounds(data: Archive) -> None:
    raw = data.tensor("raw", grad=True)
    log_prob = _policy(raw).log_prob(data.tensor("given_action"))
    official, saturated = data["given_log_prob"], slice(4, 6)
    close(log_prob.detach()[:4], official[:4], VALUE, relative=VALUE)
    close(log_prob.detach()[saturated], official[saturated], relative=1e-4)
    log_prob[:5].sum().backward()
    close_to_largest(raw.grad, data["grad_lp.raw"], 1e-4)


def test_log_slope_and_inverse_of_tanh(data: Archive) -> None:
    close(log_tanh_slope(data.tensor("bij.x")), data["bij.fldj"], VALUE)
    close(clamped_atanh(data.tensor("bij.y")), data["bij.inverse"], VALUE)


def test_actor_network(data: Archive) -> None:
    policy = _actor(data)(data.tensor("net.feat"))
    close(policy.mean, data["net.mean"], VALUE)
    close(policy.std, data["net.std"], VALUE)


def test_likeliest_sample_of_a_single_row(data: Archive) -> None:
    policy = _actor(data)(data.tensor("net.feat")[:1, 0])
    close(policy.likeliest(data.tensor("sd1.noise_mode")), data["sd1.mode"], VALUE)


def test_likeliest_sample_agrees_in_the_row_that_the_original_looks_at(data: Archive) -> None:
    """The original takes the sample that is likeliest in row 0 for all rows; ours is per row."""
    policy, noise = _actor(data)(data.tensor("net.feat")[:, 0]), data.tensor("sd.noise_mode")
    ours = policy.likeliest(noise)
    close(ours[0], data["sd.mode"][0], VALUE)
    samples = policy.sample(noise)
    log_probs = policy.log_prob(samples)
    close(samples[log_probs[:, 0].argmax()], data["sd.mode"], VALUE)
    torch.testing.assert_close(policy.log_prob(ours), log_probs.max(0).values)


def test_mean_and_entropy_of_a_hundred_samples(data: Archive) -> None:
    policy = _actor(data)(data.tensor("net.feat")[:, 0])
    close(policy.sample(data.tensor("sd.noise_mean")).mean(0), data["sd.mean"], VALUE)
    entropy = policy.entropy(data.tensor("sd.noise_entropy")).detach()
    close(entropy, data["sd.entropy"], VALUE, relative=VALUE)


def test_one_hot_actions(data: Archive) -> None:
    logits = data.tensor("onehot.logits", grad=True)
    policy = OneHot(logits)
    noise = one_hot_noise(data["onehot.logits"], data["onehot.sample"])
    sample = policy.sample(noise)
    close(sample, data["onehot.sample"], 1e-6)
    close(policy.mode, data["onehot.mode"], 0)
    close(logits.softmax(-1), data["onehot.mean"], VALUE)
    close(policy.log_prob(sample), data["onehot.log_prob"], VALUE)
    close(policy.entropy(), data["onehot.entropy"], VALUE)
    (data.tensor("onehot.w") * sample).sum().backward()
    close(logits.grad, data["onehot.grad_logits"], VALUE)


def test_tanh_normal_of_dreamer_v2() -> None:
    """V2 adds its init_std to the raw value where V1 adds softplus^-1(init_std)."""
    data = archive("actor_dist")
    raw = torch.cat([data.tensor("tn.raw_mean"), data.tensor("tn.raw_std")], -1)
    policy = _policy(raw, init_std=math.log1p(math.exp(0.5)), min_std=0.1)
    close(policy.mean, data["th.mean"], 5e-6)
    close(policy.std, data["th.std"], 5e-6)
    first = TanhNormal(policy.mean[:6], policy.std[:6])
    log_prob = first.log_prob(data.tensor("tn.given_action")[:6]).detach()
    close(log_prob, data["th.given_log_prob"], 1e-5, relative=1e-5)


def _actor(data: Archive) -> TanhNormalActor:
    actor = TanhNormalActor(18, ACTIONS, units=16)
    load(data, actor, "net.", HEAD)
    return actor


def _policy(raw: Tensor, **options: float) -> TanhNormal:
    """Pass raw outputs through the actor's own transforms, with its layers taken out."""
    actor = TanhNormalActor(6, ACTIONS, layers=0, **options)
    with torch.no_grad():
        actor.out.weight.copy_(torch.eye(6))
    return actor(raw)
