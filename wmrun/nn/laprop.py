"""LaProp with adaptive gradient clipping and warm-up, the optimiser of Dreamer V3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from wmrun.nn.optimizer import Optimizer, aligned_as

SMALLEST_NORM: Final = 1e-3
"""A tensor's norm counts as at least this for clipping, so that zeros can start to move."""


class LaProp(Optimizer):
    """Steps on the gradient of one loss; never changes a parameter when that loss is not finite.

    In this order (V3 3.5; opt.py:109-164): each tensor's gradient is scaled down to `agc` times the
    tensor's norm (0: never); it is divided by the root of the average of its squares; the result is
    averaged with factor `beta1`; both averages are corrected for their start at 0. The learning
    rate rises linearly from 0 over `warmup` updates: the first one changes nothing.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        warmup: int,
        agc: float,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> None:
        super().__init__(parameters)
        self._lr, self._warmup, self._agc, self._eps = lr, warmup, agc, eps
        self._beta1, self._beta2 = beta1, beta2
        self._momentum = [torch.zeros_like(p) for p in self._parameters]
        self._square = [torch.zeros_like(p) for p in self._parameters]

    @torch.no_grad()
    def apply(self, gradients: Iterable[Tensor], loss: Tensor | None = None) -> Tensor:
        """Step on `gradients`, given in the order of the parameters, as `step` does."""
        aligned = [aligned_as(p, g) for g, p in zip(gradients, self._parameters, strict=True)]
        norms = torch.stack(torch._foreach_norm(aligned))
        norm = torch.linalg.vector_norm(norms)
        finite = torch.isfinite(norm if loss is None else norm + loss)
        clipped = torch._foreach_mul(aligned, list(self._factors(norms)))
        self._steps += 1
        # The momentum is what AdamW without a momentum of its own would make of a parameter that
        # decays by beta1 and climbs: torch's fused kernel does it in one pass over memory, and
        # changes nothing where found_inf is set, without a device sync.
        torch._fused_adamw_(
            self._momentum,
            clipped,
            clipped,
            self._square,
            [],
            [torch.full((), float(self._steps), device=norm.device)] * len(clipped),
            lr=1 - self._beta1,
            beta1=0.0,
            beta2=self._beta2,
            weight_decay=1.0,
            eps=self._eps,
            amsgrad=False,
            maximize=True,
            found_inf=(~finite).to(torch.float32),
        )
        change = torch.where(finite, -self._learning_rate(), 0.0)
        torch._foreach_addcmul_(self._parameters, self._momentum, [change] * len(clipped))
        return norm

    def save(self) -> dict[str, Tensor]:
        """Return both averages by parameter name and the number of steps taken."""
        averages = {"momentum": self._momentum, "square": self._square}
        return {
            f"{kind}.{name}": part
            for kind, average in averages.items()
            for name, part in zip(self._names, average, strict=True)
        } | {"steps": torch.tensor(self._steps)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `save` returned."""
        for kind, average in (("momentum", self._momentum), ("square", self._square)):
            for name, part in zip(self._names, average, strict=True):
                part.copy_(state[f"{kind}.{name}"])
        self._steps = int(state["steps"])

    def _factors(self, norms: Tensor) -> Tensor:
        """Return what clips each tensor's gradient, given their norms."""
        if not self._agc:
            return torch.ones_like(norms)
        limits = torch.stack(torch._foreach_norm(self._parameters)).clamp_(min=SMALLEST_NORM)
        return (norms / (self._agc * limits)).clamp_(min=1).reciprocal_()

    def _learning_rate(self) -> float:
        """Return the rate of this step, the `steps`-th, over the momentum's bias correction."""
        warm = 1.0 if self._warmup == 0 else min(1.0, (self._steps - 1) / self._warmup)
        return self._lr * warm / (1 - self._beta1**self._steps)
