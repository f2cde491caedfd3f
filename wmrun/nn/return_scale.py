"""The range of returns that Dreamer V3's advantages are measured in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOW, HIGH = 0.05, 0.95
"""The percentiles between which returns are taken to lie."""


class ReturnScale(nn.Module):
    """max(1, P95 - P5) of returns, averaged over updates (V3 3.4; utils.py:16-91).

    Both averages start at 0, without correction; `rate` is the share of the newest batch. Returns
    that are not finite leave them as they are.
    """

    low: Tensor
    high: Tensor
    percentiles: Tensor

    def __init__(self, *, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        # On the device already, where a copy per update would wait for it.
        self.register_buffer("percentiles", torch.tensor([LOW, HIGH]), persistent=False)

    @torch.no_grad()
    def forward(self, returns: Tensor) -> Tensor:
        """Return the scale `[]`, after taking `returns` `[...]` into the averages."""
        ends = torch.quantile(returns.flatten().float(), self.percentiles)
        known = torch.stack([self.low, self.high])
        low, high = torch.where(torch.isfinite(ends).all(), ends, known)
        self.low.lerp_(low, self._rate)
        self.high.lerp_(high, self._rate)
        return (self.high - self.low).clamp(min=1.0)
