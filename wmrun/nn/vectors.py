"""Observations that are not images, on their way into networks of dense layers."""

from __future__ import annotations

from itertools import accumulate
from math import prod

import torch
from torch import Tensor, nn
from wmrun_envserver.wire import spaces

from wmrun.errors import ComponentError
from wmrun.nn.observations import ObsSpace, class_counts, vector_leaves


class Numbers(nn.Module):
    """The entries of a Box or MultiBinary of any shape in a row."""

    def __init__(self, space: spaces.Box | spaces.MultiBinary) -> None:
        super().__init__()
        self.size = prod(space.shape)
        self._axes = len(space.shape)

    def forward(self, values: Tensor) -> Tensor:
        """Return `[..., n]` in float32."""
        batch = values.shape[: values.ndim - self._axes]
        return values.reshape(*batch, self.size).to(torch.float32)


class Classes(nn.Module):
    """The variables of a Discrete or MultiDiscrete, which become one-hot vectors in a row."""

    start: Tensor
    offsets: Tensor

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete) -> None:
        super().__init__()
        self.counts = class_counts(space)
        self.size = sum(self.counts)
        self._axes = len(space.shape)
        start = torch.tensor(space.start).flatten()
        offsets = torch.tensor([0, *accumulate(self.counts[:-1])])
        self.register_buffer("start", start, persistent=False)
        self.register_buffer("offsets", offsets, persistent=False)

    def classes(self, values: Tensor) -> Tensor:
        """Return the class of each variable `[..., V]`, counted from 0."""
        batch = values.shape[: values.ndim - self._axes]
        return values.reshape(*batch, len(self.counts)).to(torch.int64) - self.start

    def forward(self, values: Tensor) -> Tensor:
        """Return the one-hot vectors `[..., n]` in float32."""
        index = self.classes(values) + self.offsets
        return torch.zeros((*index.shape[:-1], self.size), device=index.device).scatter_(
            -1, index, 1.0
        )


def vector_inputs(obs_space: ObsSpace, owner: str) -> dict[str, Numbers | Classes]:
    """Return what makes a vector of each observation.

    `owner` names the network in errors, e.g. "the mlp encoder". Raises `ComponentError` naming the
    first key that no vector can be made of, and where there are no entries at all.
    """
    inputs: dict[str, Numbers | Classes] = {}
    for key, space in vector_leaves(obs_space, owner).items():
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
            inputs[key] = Classes(space)
        else:
            inputs[key] = Numbers(space)
    if not any(part.size for part in inputs.values()):
        raise ComponentError(
            f"{owner} has nothing to learn from: {', '.join(inputs)} have no entries",
            hint="Give the environment an observation, or set env.image to learn from its frames.",
        )
    return inputs
