"""The two-hot distribution over numbers of any size that Dreamer V3 predicts."""

from __future__ import annotations

from functools import cached_property

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


class TwoHot:
    """A categorical over numbers: `logits` `[..., K]`, at the K `bins` in rising order."""

    def __init__(self, logits: Tensor, bins: Tensor) -> None:
        self.logits = logits
        self.bins = bins

    @property
    def mean(self) -> Tensor:
        """The expected bin `[...]`.

        Bins of opposite sign are paired before they are summed: symmetric logits give exactly 0,
        where sums of numbers of 1e8 would leave rounding errors (V3 outs.py:273-330).
        """
        probs = self.logits.softmax(-1)
        middle = self.bins.shape[0] // 2
        return (probs[..., middle + 1 :] - probs[..., :middle].flip(-1)) @ self.bins[middle + 1 :]

    def loss(self, target: Tensor) -> Tensor:
        """Return the cross-entropy `[...]` with targets `[...]` spread over their two neighbours.

        Shares are linear in the distance to the neighbours, in the space of the values; targets
        beyond the last bins belong to these.
        """
        target = target.detach()
        above = torch.searchsorted(self.bins, target.contiguous()).clamp_(1, len(self.bins) - 1)
        low, high = self.bins[above - 1], self.bins[above]
        share = ((target - low) / (high - low)).clamp_(0, 1)
        near = self._log_probs.gather(-1, torch.stack([above - 1, above], -1))
        return -torch.lerp(near[..., 0], near[..., 1], share)

    @cached_property
    def _log_probs(self) -> Tensor:
        # Kept, because a critic has a loss towards returns and one towards the slow critic.
        return self.logits.log_softmax(-1)
