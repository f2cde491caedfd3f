"""Dreamer V1's archives: official weights in our modules, agents at their sizes, their noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from wmrun_envserver.wire.spaces import Box

from tests.golden.archives import Archive
from wmrun.agents.dreamer_v1 import DreamerV1

IMAGE = {"image": Box((64, 64, 3), "uint8")}
ACTIONS = Box((3,), low=-1, high=1)
LATENT = {
    "type": "gaussian",
    "size": 6,
    "std_act": "softplus",
    "min_std": 0.1,
    "shared_noise": True,
}
CONTINUE = {"type": "bernoulli", "layers": 3, "units": 16}

Table = Mapping[str, str]
"""From our layer names to the official ones."""
RSSM = {
    "dynamics.img_in.dense": "img1",
    "dynamics.cell": "cell",
    "img_out.0.dense": "img2",
    "img_dist": "img3",
    "obs_out.dense": "obs1",
    "obs_dist": "obs2",
}
HEAD = {f"mlp.{i}.dense": f"h{i}" for i in range(4)} | {"out": "hout"}
ENCODER = {f"convs.{i}.conv": f"h{i + 1}" for i in range(4)}
DECODER = {"linear": "h1"} | {f"convs.{i}.conv": f"h{i + 2}" for i in range(3)} | {"out": "h5"}

_WEIGHTS = (".kernel", ".recurrent_kernel", ".bias")
_GATES = {
    "weight_ih": "kernel",
    "weight_hh": "recurrent_kernel",
    "bias_ih": "bias",
    "bias_hh": "bias",
}


def parameters(
    data: Archive, module: nn.Module, prefix: str, table: Table
) -> dict[str, np.ndarray]:
    """Return the official arrays under `prefix`, each used once, in our names and layouts."""
    found = {}
    for name, parameter in module.named_parameters():
        layer, _, kind = name.rpartition(".")
        official = f"{prefix}{table[layer]}." if layer else prefix
        found[name] = (
            _gates(data, official, kind)
            if kind in _GATES
            else _layout(data[official + ("kernel" if kind == "weight" else "bias")])
        )
        assert found[name].shape == tuple(parameter.shape), name
    held = [data[name] for name in data if name.startswith(prefix) and name.endswith(_WEIGHTS)]
    assert not prefix or sum(a.size for a in held) == sum(a.size for a in found.values())
    return found


def load(data: Archive, module: nn.Module, prefix: str, table: Table) -> None:
    """Copy the official weights under `prefix` into `module`."""
    with torch.no_grad():
        for name, value in parameters(data, module, prefix, table).items():
            module.get_parameter(name).copy_(torch.tensor(value))


def dreamer(**options: Any) -> DreamerV1:
    """Build an agent with deter 12, 6 latents, 16 units, convolutions of depth 2, horizon 5."""
    conv = {"type": "cnn", "depth": 2, "act": "relu"}
    defaults = {
        "encoder": conv,
        "decoder": conv,
        "latent": LATENT,
        "dynamics": {"type": "gru", "deter": 12},
        "reward_head": {"type": "mse", "layers": 2, "units": 16},
        "critic_head": {"type": "mse", "layers": 3, "units": 16},
        "actor": {"type": "tanh_normal", "units": 16},
        "imagine_horizon": 5,
    }
    return DreamerV1(IMAGE, ACTIONS, device="cpu", **(defaults | options))


def parts(agent: DreamerV1) -> dict[str, tuple[nn.Module, Table]]:
    """Return our modules and name tables by the official names of the parts."""
    model = agent.world_model
    found: dict[str, tuple[nn.Module, Table]] = {
        "encode": (model.encoder, ENCODER),
        "dynamics": (model.rssm, RSSM),
        "decode": (model.decoder, DECODER),
        "reward": (model.reward_head, HEAD),
        "actor": (agent.actor, HEAD),
        "value": (agent.critic, HEAD),
    }
    if model.continue_head is not None:
        found["pcont"] = (model.continue_head, HEAD)
    return found


def load_agent(agent: DreamerV1, data: Archive, prefix: str = "") -> None:
    """Load the official weights of every part that the archive holds under `prefix`."""
    for name, (module, table) in parts(agent).items():
        if any(key.startswith(f"{prefix}{name}.") for key in data):
            load(data, module, f"{prefix}{name}.", table)


def replay_noise(owner: Any, *recordings: Tensor) -> None:
    """Let a latent or an actor draw the recorded noise, one recording after the other."""
    remaining, draw = iter(recordings), type(owner).noise

    def noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        recording = next(remaining)
        assert recording.shape == draw(owner, shape, torch.Generator()).shape
        return recording

    owner.noise = noise


def shared(noise: np.ndarray) -> Tensor:
    """Return recorded latent noise `[..., S]` as it is drawn for a batch, `[..., 1, S]`."""
    return torch.tensor(noise).unsqueeze(-2)


def _gates(data: Archive, official: str, kind: str) -> np.ndarray:
    """Return the GRU's update, reset and candidate as reset, update and candidate."""
    array = data[official + _GATES[kind]]
    if kind.startswith("bias"):
        array = array[("bias_ih", "bias_hh").index(kind)]
    update, reset, candidate = np.split(array, 3, -1)
    return np.concatenate([reset, update, candidate], -1).T


def _layout(array: np.ndarray) -> np.ndarray:
    """Turn kernels (in, out), (H, W, in, out) and transposed (H, W, out, in) into torch's."""
    if array.ndim == 2:
        return array.T
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
