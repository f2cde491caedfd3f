"""Dreamer V3's archives: official weights and gradients in our names, layouts and feat order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden.archives import Archive, one_hot_noise

STOCH, CLASSES = 4, 5
UNIMIX = 0.01

Table = Mapping[str, str]
"""From our layer names to the official ones."""


def _hidden(ours: str, official: str, count: int) -> dict[str, str]:
    """Return the names of hidden layers whose norms are called after them."""
    return {
        f"{ours}{i}.{part}": f"{official}{i}{suffix}"
        for i in range(count)
        for part, suffix in (("dense", ""), ("conv", ""), ("norm", "norm"))
    }


def _mlp(official: str, layers: int) -> dict[str, str]:
    return {
        f"mlp.{i}.{part}": f"{official}/mlp/{kind}{i}"
        for i in range(layers)
        for part, kind in (("dense", "linear"), ("norm", "norm"))
    }


def _below(module: str, table: Table) -> dict[str, str]:
    return {f"{module}.{ours}": official for ours, official in table.items()}


RSSM: Table = {
    "dynamics.deter_in.dense": "dyn/dynin0",
    "dynamics.deter_in.norm": "dyn/dynin0norm",
    "dynamics.stoch_in.dense": "dyn/dynin1",
    "dynamics.stoch_in.norm": "dyn/dynin1norm",
    "dynamics.action_in.dense": "dyn/dynin2",
    "dynamics.action_in.norm": "dyn/dynin2norm",
    "dynamics.hidden": "dyn/dynhid0",
    "dynamics.hidden_norm": "dyn/dynhid0norm",
    "dynamics.gates": "dyn/dyngru",
    "img_dist": "dyn/priorlogit",
    "obs_out.dense": "dyn/obs0",
    "obs_out.norm": "dyn/obs0norm",
    "obs_dist": "dyn/obslogit",
    **_hidden("img_out.", "dyn/prior", 2),
}
MLP_ENCODER: Table = _hidden("mlp.", "enc/mlp", 3)
CNN_ENCODER: Table = _hidden("layers.", "enc/cnn", 4)
MULTI_ENCODER: Table = _below("parts.0", CNN_ENCODER) | _below("parts.1", MLP_ENCODER)
CNN_DECODER: Table = {
    "from_deter": "dec/sp0",
    "stoch_hidden.dense": "dec/sp1",
    "stoch_hidden.norm": "dec/sp1norm",
    "from_stoch": "dec/sp2",
    "norm": "dec/spnorm",
    "out": "dec/imgout",
    **{
        f"layers.{i}.{part}": f"dec/conv{2 - i}{suffix}"
        for i in range(3)
        for part, suffix in (("conv", ""), ("norm", "norm"))
    },
}


def mlp_decoder(*keys: str) -> Table:
    """Return the table of a vector decoder whose observation keys come in this order."""
    outs = {f"outs.{i}": f"dec/vec/{key}/pred" for i, key in enumerate(keys)}
    return _mlp("dec", 3) | outs


def multi_decoder(*keys: str) -> Table:
    """Return the table of a decoder of images and of vectors in this order."""
    return _below("parts.0", CNN_DECODER) | _below("parts.1", mlp_decoder(*keys))


def head(name: str) -> Table:
    """Return the table of "rew", "con", "val" or "slowval"."""
    layers = {"rew": 1, "con": 1}.get(name, 3)
    out = "logit" if name == "con" else "logits"
    return _mlp(name, layers) | {"out": f"{name}/head/{out}"}


def actor(name: str = "pol", *, discrete: bool) -> Table:
    """Return the table of a policy; the archive heads has two, "polc" and "pold"."""
    outs = {"out": "logits"} if discrete else {"out": "mean", "std": "stddev"}
    return _mlp(name, 3) | {ours: f"{name}/head/action/{out}" for ours, out in outs.items()}


def world_model(*, image: bool) -> Table:
    """Return the table of the world model of the archive agent_pixel or agent_proprio."""
    return {
        **_below("encoder", CNN_ENCODER if image else MLP_ENCODER),
        **_below("encoder.parts.0", CNN_ENCODER if image else MLP_ENCODER),
        **_below("rssm", RSSM),
        **_below("decoder", CNN_DECODER if image else mlp_decoder("vector")),
        **_below("decoder.parts.0", CNN_DECODER if image else mlp_decoder("vector")),
        **_below("reward_head", head("rew")),
        **_below("continue_head", head("con")),
    }


def arrays(data: Archive, module: nn.Module, table: Table, prefix: str) -> dict[str, np.ndarray]:
    """Return what the archive holds under `prefix` of a module's parameters, by our names.

    That is weights under "w/", and gradients under "grad/TERM/", of which some are left out.
    """
    found = {}
    for name, parameter in module.named_parameters():
        official = prefix + official_name(name, table)
        if official in data:
            found[name] = _layout(data[official], official)
            assert found[name].shape == tuple(parameter.shape), name
    return found


def official_name(name: str, table: Table) -> str:
    """Return the official name of one of our parameters."""
    layer, _, kind = name.rpartition(".")
    return f"{table[layer]}/{_kind(table[layer], kind)}"


def load(data: Archive, module: nn.Module, table: Table) -> None:
    """Copy the official weights into every parameter of `module`."""
    weights = arrays(data, module, table, "w/")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.tensor(weights[name]))


def one_hot(index: np.ndarray, classes: int = CLASSES) -> Tensor:
    """Return the one-hot vectors `[..., K]` of recorded classes."""
    return torch.tensor(np.eye(classes, dtype=np.float32)[index])


def stoch(index: np.ndarray) -> Tensor:
    """Return the flat samples `[..., Z]` of recorded classes `[..., S]`."""
    return one_hot(index).flatten(-2)


def forced(logits: np.ndarray, index: np.ndarray, *, unimix: float = UNIMIX) -> Tensor:
    """Return the noise `[..., S, 1]` that makes the recorded classes of recorded logits."""
    wide = logits.astype(np.float64)
    odds = np.exp(wide - wide.max(-1, keepdims=True))
    mixed = (1 - unimix) * odds / odds.sum(-1, keepdims=True) + unimix / CLASSES
    return one_hot_noise(np.log(mixed), one_hot(index).numpy())


def _kind(official: str, kind: str) -> str:
    if kind == "bias":
        return "bias"
    return "scale" if "norm" in official.rpartition("/")[2] else "kernel"


def _layout(array: np.ndarray, official: str) -> np.ndarray:
    """Turn kernels (in, out) and (H, W, in, out) into torch's; blocks are as they are.

    Heads take [deter, stoch] where ours take [stoch, deter].
    """
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim != 2:
        return array
    if official.endswith("/mlp/linear0/kernel") and "dec/" not in official:
        array = np.roll(array, STOCH * CLASSES, axis=0)
    return array.T
