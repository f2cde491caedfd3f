"""transforms.npz of Dreamer V3: scalar transforms, distributions and their losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from wmrun_envserver.wire.spaces import Box

from tests.golden.archives import Archive, archive, close
from tests.golden.v3_names import forced, one_hot
from wmrun.actors.bounded_normal import BoundedNormalActor, NormalPolicy
from wmrun.latents.categorical import CategoricalLatent
from wmrun.nn.distributions import Bernoulli, OneHot, SquaredError, mixed_probs
from wmrun.nn.transforms import symexp, symlog
from wmrun.nn.two_hot import TwoHot, symexp_bins

BINS = symexp_bins(255)
UNIMIX = {"u0": 0.0, "u01": 0.01}


@pytest.fixture(scope="module")
def data() -> Archive:
    return archive("v3/transforms")


def test_symlog_and_symexp(data: Archive) -> None:
    close(symlog(data.tensor("symlog_x")), data["symlog_y"], relative=1e-6)
    close(symexp(data.tensor("symexp_x")), data["symexp_y"], relative=2e-6)


def test_bins(data: Archive) -> None:
    close(BINS, data["twohot_bins"], relative=1e-5)
    assert BINS[127] == 0
    assert torch.equal(BINS, -BINS.flip(0))


def test_two_hot_weights(data: Archive) -> None:
    logits = torch.zeros(46, 255, requires_grad=True)
    TwoHot(logits, BINS).loss(data.tensor("twohot_target")).sum().backward()
    close(1 / 255 - _grad(logits), data["twohot_weights"], 2e-5)


@pytest.mark.parametrize("recorded_bins", [True, False])
def test_two_hot_loss(data: Archive, recorded_bins: bool) -> None:
    logits = data.tensor("twohot_logits", grad=True)
    bins = data.tensor("twohot_bins") if recorded_bins else BINS
    loss = TwoHot(logits, bins).loss(data.tensor("twohot_target"))
    close(loss, data["twohot_loss"], relative=1e-5)
    loss.sum().backward()
    close(_grad(logits), data["twohot_grad_logits"], 2e-6 if recorded_bins else 2e-5)


def test_two_hot_mean(data: Archive) -> None:
    mean = TwoHot(data.tensor("twohot_pred_logits"), BINS).mean
    assert (mean[[0, 1, -1]] == 0).all()
    for ours, official, scale in zip(
        mean, data["twohot_pred"], data["twohot_pred_absum"], strict=True
    ):
        close(ours, official, 3e-6 * float(scale))


@pytest.mark.parametrize("mix", UNIMIX)
def test_mixed_categoricals(data: Archive, mix: str) -> None:
    first, second = _mixed(data, "unimix_a", mix), _mixed(data, "unimix_b", mix)
    event = one_hot(data["unimix_idx"])
    key = f"unimix_{mix}"
    close(mixed_probs(data.tensor("unimix_a"), UNIMIX[mix]), data[f"{key}_probs"], 1e-6)
    close(first.logits.log_softmax(-1), data[f"{key}_logp_all"], 1e-5)
    close(first.log_prob(event), data[f"{key}_logp"], 1e-5)
    close(first.log_prob(event).sum(-1), data[f"{key}_logp_sum"], 2e-5)
    close(first.entropy(), data[f"{key}_entropy"], 1e-5)
    close(first.kl(second), data[f"{key}_kl"], 1e-5)
    close(first.mode.argmax(-1), data[f"{key}_mode"])


@pytest.mark.parametrize("mix", UNIMIX)
def test_mixed_latents(data: Archive, mix: str) -> None:
    latent = CategoricalLatent(groups=4, classes=5, unimix=UNIMIX[mix])
    first, second = (data.tensor(f"unimix_{side}", grad=True) for side in "ab")
    key = f"unimix_{mix}"
    close(latent.entropy(first.flatten(-2)), data[f"{key}_entropy_sum"], 1e-5)
    kl = latent.kl(first.flatten(-2), second.flatten(-2))
    close(kl, data[f"{key}_kl_sum"], 1e-5)
    kl.sum().backward()
    close(_grad(first), data[f"{key}_kl_grad_a"], 1e-5)
    close(_grad(second), data[f"{key}_kl_grad_b"], 1e-5)
    mode = latent.mode(first.flatten(-2)).unflatten(-1, (4, 5))
    close(mode.argmax(-1), data[f"{key}_mode"])


@pytest.mark.parametrize("mix", UNIMIX)
def test_straight_through_gradients(data: Archive, mix: str) -> None:
    latent = CategoricalLatent(groups=4, classes=5, unimix=UNIMIX[mix])
    logits = data.tensor("unimix_a", grad=True)
    noise = forced(data["unimix_a"], data["unimix_idx"], unimix=UNIMIX[mix])
    sample = latent.sample(logits.flatten(-2), noise).unflatten(-1, (4, 5))
    event = data[f"unimix_{mix}_st_value"]
    # Without a mixture, two recorded classes are too unlikely for any float32 noise to choose them.
    possible = (data[f"unimix_{mix}_probs"] * event).sum(-1) > 1e-6
    assert (~possible).sum() <= 2
    close(sample[torch.tensor(possible)], event[possible])
    (sample * data.tensor("unimix_cot")).sum().backward()
    close(_grad(logits), data[f"unimix_{mix}_st_grad"], 1e-6)


def test_discrete_policy(data: Archive) -> None:
    policy = OneHot(data.tensor("cat_logits"))
    close(policy.log_prob(one_hot(data["cat_action"])), data["cat_logp"], 1e-5)
    close(policy.entropy(), data["cat_entropy"], 1e-5)
    close(policy.mode.argmax(-1), data["cat_mode"])
    extremes = torch.tensor([[100.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    close(OneHot(extremes).entropy(), data["cat_minmaxent"], 1e-5)


def test_bounded_normal(data: Archive) -> None:
    raw, policy = _bounded_normal(data)
    action = data.tensor("bn_action")
    close(policy.mean, data["bn_mean"], 1e-6)
    close(policy.mode, data["bn_mean"], 1e-6)
    close(policy.std, data["bn_std"], 1e-6)
    close(policy.log_prob(action), data["bn_logp"], relative=1e-5)
    close(policy.entropy(), data["bn_entropy"], 1e-5)
    parts = type(policy)(policy.mean.unsqueeze(-1), policy.std.unsqueeze(-1))
    close(parts.log_prob(action.unsqueeze(-1)), data["bn_logp_dim"], 1e-6, relative=1e-5)
    close(parts.entropy(), data["bn_entropy_dim"], 1e-5)

    (gradient,) = torch.autograd.grad(policy.log_prob(action).sum(), raw, retain_graph=True)
    close(gradient, data["bn_logp_grad"], 1e-5, relative=1e-4)
    (gradient,) = torch.autograd.grad(policy.entropy().sum(), raw)
    close(gradient, data["bn_entropy_grad"], 1e-5, relative=1e-4)


@pytest.mark.parametrize(("raw_std", "name"), [(-100.0, "bn_minent"), (100.0, "bn_maxent")])
def test_bounds_of_the_bounded_normal(data: Archive, raw_std: float, name: str) -> None:
    actor = _identity_actor(1)
    entropy = actor(torch.tensor([0.0, raw_std])).entropy()
    close(entropy.expand(8, 3), data[name], relative=1e-5)


def test_bernoulli(data: Archive) -> None:
    coin = Bernoulli(data.tensor("bin_logit"))
    losses = [coin.loss(torch.full((10,), float(x))) for x in data["bin_target"]]
    close(torch.stack(losses, -1), data["bin_loss"], 1e-7, relative=1e-5)
    close(coin.mean, data["bin_prob1"], relative=1e-5)
    close(coin.mean > 0.5, data["bin_pred"])


def test_squared_errors(data: Archive) -> None:
    error, target = SquaredError(data.tensor("mse_mean"), 1), data.tensor("mse_target")
    close(error.loss(target), data["mse_loss"], relative=1e-5)
    close(error.loss(symlog(target)), data["symlog_mse_loss"], relative=1e-5)
    close(error.mean, data["mse_pred"])
    close(error.mean, data["symlog_mse_pred"])
    image = SquaredError(data.tensor("img_mean"), 3)
    close(image.loss(data.tensor("img_target_u8") / 255), data["img_loss"], relative=1e-5)


def _mixed(data: Archive, name: str, mix: str) -> OneHot:
    logits, unimix = data.tensor(name), UNIMIX[mix]
    return OneHot(mixed_probs(logits, unimix).log() if unimix else logits)


def _bounded_normal(data: Archive) -> tuple[Tensor, NormalPolicy]:
    raw = torch.cat([data.tensor("bn_mean_raw"), data.tensor("bn_std_raw")], -1).requires_grad_()
    return raw, _identity_actor(3)(raw)


def _identity_actor(size: int) -> BoundedNormalActor:
    """Return an actor that takes raw means and standard deviations for its feat."""
    actor = BoundedNormalActor(2 * size, Box((size,), low=-1, high=1), layers=0, units=1)
    identity = torch.eye(2 * size)
    actor.load_state_dict(
        {
            "out.weight": identity[:size],
            "out.bias": torch.zeros(size),
            "std.weight": identity[size:],
            "std.bias": torch.zeros(size),
        }
    )
    return actor


def _grad(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad
