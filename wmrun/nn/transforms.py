"""Squashing functions that keep the sign."""

from __future__ import annotations

import torch
from torch import Tensor


def symlog(x: Tensor) -> Tensor:
    """Return sign(x)·ln(1 + |x|) (V3 3.1; nets.py:59)."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    """Return sign(x)·(exp(|x|) - 1), the inverse of symlog (V3 3.1; nets.py:63)."""
    return torch.sign(x) * torch.expm1(x.abs())
