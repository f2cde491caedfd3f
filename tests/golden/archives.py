"""Reading the archives and carrying official weights over to our modules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden import fidelity

FOLDER = Path(os.environ.get("WMRUN_GOLDEN", Path(__file__).parent))
"""Holds v1, v2 and v3, or is one of them."""

RSSM = {
    r"dynamics\.img_in\.dense": "img_in",
    r"dynamics\.img_in\.norm": "img_in_norm",
    r"dynamics\.cell\.dense": "cell.dense",
    r"dynamics\.cell\.norm": "cell.norm",
    r"img_out\.0\.dense": "img_out_0",
    r"img_out\.0\.norm": "img_out_norm_0",
    r"img_dist": "img_dist_0",
    r"obs_out\.dense": "obs_out",
    r"obs_out\.norm": "obs_out_norm",
    r"obs_dist": "obs_dist",
}
HEAD = {r"mlp\.(\d)\.dense": r"dense\1", r"mlp\.(\d)\.norm": r"norm\1", "out": "out.out"}
ACTOR = HEAD | {"std": "out.std"}
CELL = {"dense": "dense", "norm": "norm"}
MLP_ENCODER = {r"mlp\.(\d)\.dense": r"dense\1", r"mlp\.(\d)\.norm": r"densenorm\1"}
CNN_ENCODER = {r"convs\.(\d)\.conv": r"conv\1", r"convs\.(\d)\.norm": r"convnorm\1"}
CNN_DECODER = CNN_ENCODER | {"linear": "convin", "out": "conv3"}
MULTI_ENCODER = {rf"parts\.0\.{k}": v for k, v in CNN_ENCODER.items()} | {
    rf"parts\.1\.{k}": v for k, v in MLP_ENCODER.items()
}
LAYER_PARAMETERS = {"weight": "kernel", "bias": "bias"}
NORM_PARAMETERS = {"weight": "gamma", "bias": "beta"}
WEIGHT = r"\.(kernel|bias|gamma|beta)$"
Table = Mapping[str, str]
"""From our layer names (patterns) to the official ones."""


def mlp_decoder(*keys: str) -> Table:
    """Return the table of a vector decoder whose observation keys come in this order."""
    return MLP_ENCODER | {rf"outs\.{i}": f"dense_{key}.out" for i, key in enumerate(keys)}


class Archive(Mapping[str, np.ndarray]):
    """One archive; `archive(name)` opens it."""

    def __init__(self, path: Path) -> None:
        self._name = f"{path.parent.name}/{path.stem}"
        with np.load(path) as arrays:
            self._arrays = {name: arrays[name] for name in arrays.files}
        fidelity.opened(self._name, self._arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        fidelity.read(self._name, name)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def tensor(self, name: str, *, grad: bool = False) -> Tensor:
        """Return an array as a tensor: float32, or bool and uint8 as they are."""
        array = self[name]
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        return torch.tensor(array).requires_grad_(grad)

    def parameters(self, module: nn.Module, prefix: str, table: Table) -> dict[str, np.ndarray]:
        """Return the official arrays under `prefix`, each used once, in our names and layouts."""
        ours = dict(module.named_parameters())
        found = {name: f"{prefix}{_official(name, table)}" for name in ours}
        weights = {n for n in self if n.startswith(prefix) and re.search(WEIGHT, n)}
        assert not prefix or weights == set(found.values())
        return {name: _layout(self[official]) for name, official in found.items()}

    def load(self, module: nn.Module, prefix: str, table: Table) -> None:
        """Copy the official weights under `prefix` into `module`."""
        with torch.no_grad():
            for name, value in self.parameters(module, prefix, table).items():
                parameter = module.get_parameter(name)
                assert parameter.shape == value.shape, name
                parameter.copy_(torch.tensor(value))


def archive(name: str) -> Archive:
    """Open an archive by version and name, e.g. "v3/heads"; a name alone is one of v2's."""
    path = Path("v2", name) if "/" not in name else Path(name)
    folder = FOLDER / path.parent
    if not folder.is_dir():
        if FOLDER.name in ("v1", "v2", "v3") and FOLDER.name != path.parent.name:
            pytest.skip(f"{FOLDER} holds other archives than those of {path.parent}")
        folder = FOLDER
    return Archive(folder / f"{path.name}.npz")


def close(
    ours: Tensor | float, official: np.ndarray, tolerance: float = 0.0, *, relative: float = 0.0
) -> None:
    """Assert equality within an absolute tolerance, or one relative to each entry, or their sum.

    Every comparison with an archive is made here: docs/fidelity.md counts them.
    """
    found = torch.as_tensor(ours).detach().numpy()
    official = np.asarray(official)
    assert found.shape == official.shape
    fidelity.compared(found, official, tolerance, relative)
    np.testing.assert_allclose(found, official, rtol=relative, atol=tolerance)


def close_to_largest(ours: Tensor, official: np.ndarray, tolerance: float) -> None:
    """Assert equality within a tolerance relative to the array's largest entry."""
    close(ours, official, tolerance * float(np.abs(official).max()) + 1e-30)


def close_to_norm(ours: Tensor, official: np.ndarray, tolerance: float) -> None:
    """Assert equality within a tolerance relative to the array's norm."""
    close(ours, official, tolerance * float(np.linalg.norm(official)) + 1e-30)


def one_hot_noise(logits: np.ndarray, sample: np.ndarray) -> Tensor:
    """Return the uniform noise `[..., 1]` in the middle of the recorded class's interval."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    probs = shifted / shifted.sum(-1, keepdims=True)
    middle = (probs.cumsum(-1) - probs / 2) * sample
    return torch.tensor(middle.sum(-1, keepdims=True), dtype=torch.float32)


def _official(name: str, table: Table) -> str:
    layer, _, kind = name.rpartition(".")
    for pattern, replacement in table.items():
        if re.fullmatch(pattern, layer):
            official = re.sub(pattern, replacement, layer)
            kinds = NORM_PARAMETERS if "norm" in official else LAYER_PARAMETERS
            return f"{official}.{kinds[kind]}"
    pytest.fail(f"no official name for {name}")


def _layout(array: np.ndarray) -> np.ndarray:
    """Turn kernels (in, out), (H, W, in, out) and transposed (H, W, out, in) into torch's."""
    if array.ndim == 2:
        return array.T
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
