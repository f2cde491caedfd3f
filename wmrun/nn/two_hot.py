"""The two-hot distribution over numbers of any size that Dreamer V3 predicts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmrun.nn.transforms import symexp

LIMIT = 20.0
"""The outermost bins are at symexp(±LIMIT), about 4.85e8."""


def symexp_bins(count: int) -> Tensor:
    """Return an odd number of bins, equally spaced in symlog space (V3 3.1; heads.py:132-144).

    The positive half mirrors the negative one, so that the middle is exactly 0.
    """
    half = symexp(torch.linspace(-LIMIT, 0, (count - 1) // 2 + 1))
    return torch.cat([half, -half[:-1].flip(0)])


class TwoHot(NamedTuple):
    """A categorical over numbers: `logits` `[..., K]`, at the K `bins` in rising order."""

    logits: Tensor
    bins: Tensor

    @property
    def mean(self) -> Tensor:
        """The expected bin `[...]`.

        Bins of opposite sign are paired before they are summed: symmetric logits give exactly 0,
        where sums of numbers of 1e8 would leave rounding errors (V3 outs.py:273-330).
        """
        probs = self.logits.softmax(-1)
        middle = (self.bins.shape[0] - 1) // 2
        return (probs[..., middle + 1 :] - probs[..., :middle].flip(-1)) @ self.bins[middle + 1 :]

    def loss(self, target: Tensor) -> Tensor:
        """Return the cross-entropy `[...]` with targets `[...]` spread over their two neighbours.

        Shares are linear in the distance to the neighbours, in the space of the values; targets
        beyond the last bins belong to these.
        """
        target = target.detach()
        last = self.bins.shape[0] - 1
        above = torch.searchsorted(self.bins, target.contiguous()).clamp_(1, last)
        low, high = self.bins[above - 1], self.bins[above]
        share = ((target - low) / (high - low)).clamp_(0, 1)
        pair = torch.stack([above - 1, above], -1)
        near = self.logits.gather(-1, pair)
        return self.logits.logsumexp(-1) - torch.lerp(near[..., 0], near[..., 1], share)
