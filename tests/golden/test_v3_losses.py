"""lambda_return.npz, kl.npz and norm_ema.npz of Dreamer V3."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden.archives import Archive, archive, close
from tests.golden.v3_names import UNIMIX
from wmrun.agents.actor_critic import SlowAverage
from wmrun.latents.categorical import CategoricalLatent
from wmrun.nn.divergence import SplitKL
from wmrun.nn.return_scale import ReturnScale
from wmrun.nn.returns import lambda_return

CASES = ["episode_ends", "no_ends", "lam1", "lam0", "soft_continue", "other"]
ELEMENTS = 3 * 8
"""A mean loss has this times smaller gradients than the recorded sums."""


@pytest.mark.parametrize("case", CASES)
def test_replayed_returns(case: str) -> None:
    data = archive("v3/lambda_return")
    reward, boot, last, term = (
        data.tensor(f"{case}/{name}").float().T for name in ("rew", "boot", "last", "term")
    )
    returns = lambda_return(
        reward[1:],
        float(data[f"{case}/disc"]) * (1 - term[1:]),
        boot,
        float(data[f"{case}/lam"]) * (1 - last[1:]),
    )
    close(returns.T, data[f"{case}/ret"], 1e-5, relative=1e-5)


def test_every_case_of_returns_is_covered() -> None:
    assert {name.split("/")[0] for name in archive("v3/lambda_return")} == set(CASES)


@pytest.mark.parametrize("free", ["0", "1", "3"])
def test_split_kl(free: str) -> None:
    data, key = archive("v3/kl"), f"free{free}"
    latent = CategoricalLatent(groups=4, classes=5, unimix=UNIMIX)
    post, prior = (data.tensor(f"{name}_logits", grad=True) for name in ("post", "prior"))
    losses, value = SplitKL(float(free))(latent.kl, post.flatten(-2), prior.flatten(-2))
    for name in ("dyn", "rep"):
        close(value.clamp(min=float(free)), data[f"{key}/{name}"], 2e-5)
        close(losses[name], data[f"{key}/{name}_mean"], 2e-5)
        gradients = torch.autograd.grad(
            ELEMENTS * losses[name], [post, prior], allow_unused=True, materialize_grads=True
        )
        for side, gradient in zip(("post", "prior"), gradients, strict=True):
            close(gradient, data[f"{key}/{name}_grad_{side}"], 1e-5)
    close(latent.entropy(prior.flatten(-2)).mean(), data[f"{key}/dyn_ent"], 2e-5)
    close(latent.entropy(post.flatten(-2)).mean(), data[f"{key}/rep_ent"], 2e-5)


def test_return_scale() -> None:
    data = archive("v3/norm_ema")
    normaliser, newest = ReturnScale(rate=0.01), ReturnScale(rate=1.0)
    for update, batch in enumerate(data.tensor("x")):
        scale = normaliser(batch)
        _close(scale, data["retnorm/scale"][update])
        _close(normaliser.low, data["retnorm/state_lo"][update])
        _close(normaliser.low, data["retnorm/offset"][update])
        _close(normaliser.high, data["retnorm/state_hi"][update])
        newest(batch)
        _close(torch.stack([newest.low, newest.high]), data["perc"][update])


@pytest.mark.parametrize(("setting", "rate"), [("slow", 0.02), ("hard", 1.0)])
def test_slow_average(setting: str, rate: float) -> None:
    data = archive("v3/norm_ema")
    live, slow = nn.Linear(4, 3), nn.Linear(4, 3)
    _fill(live, data, 0)
    average = SlowAverage(live, slow, rate=rate)
    for update in range(4):
        if update:
            _fill(live, data, update)
            average.update()
        close(slow.weight.T, data[f"{setting}/kernel"][update], 1e-8, relative=1e-6)
        close(slow.bias, data[f"{setting}/bias"][update], 1e-8, relative=1e-6)


def _fill(layer: nn.Linear, data: Archive, update: int) -> None:
    with torch.no_grad():
        layer.weight.copy_(data.tensor("src/kernel")[update].T)
        layer.bias.copy_(data.tensor("src/bias")[update])


def _close(ours: Tensor, official: np.ndarray) -> None:
    close(ours, official, relative=1e-5)
