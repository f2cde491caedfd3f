"""optimizer.npz and slow_target.npz: Adam with decay and clipping, and the slow critic's copies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.golden.archives import archive, close
from wmrun.agents.actor_critic import SlowCopy
from wmrun.nn.optimizer import Adam

SETTINGS = {
    "default": {"lr": 3e-4, "eps": 1e-5, "clip": 100.0, "weight_decay": 1e-6},
    "strong_wd": {"lr": 1e-3, "eps": 1e-5, "clip": 1.0, "weight_decay": 0.01},
    "no_wd": {"lr": 1e-3, "eps": 1e-5, "clip": 100.0, "weight_decay": 0.0},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_five_steps(setting: str) -> None:
    data = archive("optimizer")
    a, b = nn.Parameter(data.tensor("a0")), nn.Parameter(data.tensor("b0"))
    adam = Adam({"a": a, "b": b}.items(), **SETTINGS[setting])
    for step in range(5):
        norm = adam.apply([data.tensor("grad_a")[step], data.tensor("grad_b")[step]])
        close(a, data[f"{setting}.a"][step], 5e-7)
        close(b, data[f"{setting}.b"][step], 5e-7)
        close(norm, data[f"{setting}.norm"][step], relative=1e-6)


def test_five_steps_without_clipping_and_with_decay_of_one_parameter() -> None:
    """Without clipping, the two parameters of the original's one optimiser are independent."""
    data = archive("optimizer")
    norms = []
    for name, weight_decay in (("a", 0.05), ("b", 0.0)):
        parameter = nn.Parameter(data.tensor(f"{name}0"))
        adam = Adam([(name, parameter)], lr=1e-3, eps=1e-4, clip=0.0, weight_decay=weight_decay)
        norms.append([])
        for step in range(5):
            norms[-1].append(adam.apply([data.tensor(f"grad_{name}")[step]]))
            close(parameter, data[f"wd_only_a.{name}"][step], 5e-7)
    together = torch.linalg.vector_norm(torch.tensor(norms), dim=0)
    close(together, data["wd_only_a.norm"], relative=1e-6)


def test_slow_copy_is_made_at_the_first_and_every_third_call() -> None:
    data = archive("slow_target")
    live, slow = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    torch.nn.init.constant_(slow.weight, 7.0)
    copy = SlowCopy(live, slow, every=3)
    for call, kernel in enumerate(data.tensor("critic_kernel")):
        with torch.no_grad():
            live.weight.copy_(kernel.T)
        copy.update(call)
        close(slow.weight, data["every3_full.target"][call].T, 1e-6)
