"""kl_*.npz: KL values, balanced losses and gradients for every option."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from tests.golden.archives import archive, close
from wmrun.latents.categorical import CategoricalLatent
from wmrun.nn.distributions import DiagonalNormal
from wmrun.nn.divergence import KL, BalancedKL

SETTINGS = list(itertools.product(("hi", "lo"), ("0.5", "0.8"), (0, 1), (0, 1), (0, 1)))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s)))
@pytest.mark.parametrize("family", ["discrete", "gauss"])
def test_balanced_kl(family: str, setting: tuple[str, str, int, int, int]) -> None:
    name, balance, forward, free, free_avg = setting
    data = archive(f"kl_{family}")
    parts = ["logit"] if family == "discrete" else ["mean", "std"]
    post = [data.tensor(f"{name}.post_{part}", grad=True) for part in parts]
    prior = [data.tensor(f"{name}.prior_{part}", grad=True) for part in parts]
    objective = BalancedKL(float(balance), float(free), bool(free_avg), bool(forward))
    losses, value = objective(_kl(family), _stats(post), _stats(prior))
    loss = losses["kl"]

    key = f"{name}.b{balance}.f{forward}.n{free}.a{free_avg}"
    close(value, data[f"{name}.f{forward}.value"], 2e-6)
    close(loss, data[f"{key}.loss"], 2e-6)
    loss.backward()
    for side, tensors in (("post", post), ("prior", prior)):
        for part, tensor in zip(parts, tensors, strict=True):
            close(_gradient(tensor), data[f"{key}.grad_{side}_{part}"], 1e-6)


def test_every_setting_of_the_archives_is_covered() -> None:
    keys = {f"{n}.b{b}.f{f}.n{free}.a{avg}" for n, b, f, free, avg in SETTINGS}
    for data in (archive("kl_discrete"), archive("kl_gauss")):
        assert {name.removesuffix(".loss") for name in data if name.endswith(".loss")} == keys


def _kl(family: str) -> KL:
    if family == "discrete":
        return CategoricalLatent(groups=4, classes=5).kl
    return lambda p, q: DiagonalNormal(*p.chunk(2, -1)).kl(DiagonalNormal(*q.chunk(2, -1)))


def _stats(parts: list[Tensor]) -> Tensor:
    return parts[0].flatten(-2) if len(parts) == 1 else torch.cat(parts, -1)


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
