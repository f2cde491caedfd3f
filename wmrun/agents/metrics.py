"""Metrics of one update, from the device to the run."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from wmrun.errors import TrainingDiverged


def gather(metrics: Mapping[str, Tensor], updates: int) -> dict[str, float]:
    """Return scalar tensors as numbers, with a single device synchronisation.

    Raises `TrainingDiverged` naming the first metric, in order, that is not finite in update number
    `updates`.
    """
    values = torch.stack([value.detach().to(torch.float32) for value in metrics.values()]).tolist()
    numbers = dict(zip(metrics, values, strict=True))
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise TrainingDiverged(
                f"{name} is {number} in update {updates}; "
                "the parameters that it trains were left as they were",
                hint="Lower the learning rate of that part, or look for extreme observations and "
                "rewards in the batch.",
            )
    return numbers
