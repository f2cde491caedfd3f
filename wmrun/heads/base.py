"""What a head promises to agents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from wmrun.nn.distributions import Prediction


class Head(nn.Module, ABC):
    """Predicts one number per state: a reward, a continue probability, a value.

    Built as `cls(feat_size, **options)`.
    """

    predicts: ClassVar[Literal["number", "probability"]] = "number"
    """What `mean` is: any number, as rewards and values are, or one in [0, 1]."""

    @abstractmethod
    def forward(self, feat: Tensor) -> Prediction:
        """Return the prediction for `feat` `[..., F]`; its `mean` and `loss` are `[...]`."""
