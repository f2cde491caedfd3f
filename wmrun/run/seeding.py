"""One seed in the experiment file, one independent stream for every consumer of randomness."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch

_STREAMS = ("torch", "python", "numpy", "sampler", "prefill", "eval")


def seed_for(seed: int, stream: str) -> int:
    """Return the 63-bit seed of a named stream, independent of all others."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(_STREAMS.index(stream),))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def seed_global_generators(seed: int) -> None:
    """Seed torch's (all devices), NumPy's and Python's global generators."""
    torch.manual_seed(seed_for(seed, "torch"))
    np.random.seed(seed_for(seed, "numpy") % 2**32)
    random.seed(seed_for(seed, "python"))


def eval_seeds(seed: int, num_envs: int) -> list[int]:
    """Return one 32-bit environment seed per evaluation slot."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(_STREAMS.index("eval"),))
    return [int(value) for value in sequence.generate_state(num_envs)]


def save_global_generators() -> dict[str, torch.Tensor]:
    """Return the states of torch's, NumPy's and Python's global generators as tensors."""
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
    version, internal, gauss_next = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, cached], dtype=torch.float64),
        "python.internal": torch.tensor([version, *internal], dtype=torch.int64),
        "python.gauss": torch.tensor(
            [] if gauss_next is None else [gauss_next], dtype=torch.float64
        ),
    }
    for index in range(torch.cuda.device_count()):
        states[f"cuda.{index}"] = torch.cuda.get_rng_state(index)
    return states


def load_global_generators(states: Mapping[str, torch.Tensor]) -> None:
    """Restore what `save_global_generators` returned, for the devices that are there."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, cached = states["numpy.rest"].tolist()
    keys = states["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))
    version, *internal = states["python.internal"].tolist()
    gauss = states["python.gauss"].tolist()
    random.setstate((version, tuple(internal), gauss[0] if gauss else None))
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{index}"], index)
