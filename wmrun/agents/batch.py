"""Replayed arrays on their way to the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def to_tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Return the arrays as tensors of the same dtypes on `device`; uint8 images stay uint8."""
    return {key: _to_tensor(array, device) for key, array in arrays.items()}


def _to_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    # from_numpy shares memory, and warns where that is read-only, as messages from servers are.
    tensor = torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # without which the copy would make the host wait
    return tensor.to(device, non_blocking=True)
