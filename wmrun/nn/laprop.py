"""LaProp with adaptive gradient clipping and warm-up, the optimiser of Dreamer V3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

SMALLEST_NORM: Final = 1e-3
"""A tensor's norm counts as at least this for clipping, so that zeros can start to move."""


class LaProp:
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
        named = dict(parameters)
        self._names = list(named)
        self._parameters: list[Tensor] = list(named.values())
        self._sizes = [p.numel() for p in self._parameters]
        self._lr, self._warmup, self._agc, self._eps = lr, warmup, agc, eps
        self._beta1, self._beta2 = beta1, beta2
        # One vector for all parameters: a handful of kernels per step instead of one per tensor.
        self._momentum = torch.zeros(sum(self._sizes), device=self._parameters[0].device)
        self._square = torch.zeros_like(self._momentum)
        self._steps = 0

    def step(self, loss: Tensor) -> Tensor:
        """Differentiate the scalar `loss`, step, and return the gradient's norm before clipping."""
        return self.apply(self.gradients(loss), loss.detach())

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the scalar `loss`, in the order of the parameters."""
        return torch.autograd.grad(
            loss, self._parameters, allow_unused=True, materialize_grads=True
        )

    @torch.no_grad()
    def apply(self, gradients: Iterable[Tensor], loss: Tensor | None = None) -> Tensor:
        """Step on `gradients`, given in the order of the parameters, as `step` does."""
        gradients = list(gradients)
        norms = torch.stack(torch._foreach_norm(gradients))
        norm = torch.linalg.vector_norm(norms)
        finite = torch.isfinite(norm if loss is None else norm + loss)
        gradient = self._clipped(gradients, norms)
        self._steps += 1
        square = torch.addcmul(
            self._square * self._beta2, gradient, gradient, value=1 - self._beta2
        )
        scale = (square / (1 - self._beta2**self._steps)).sqrt_().add_(self._eps)
        momentum = torch.addcdiv(
            self._momentum * self._beta1, gradient, scale, value=1 - self._beta1
        )
        # Without a device sync: where something is not finite, everything stays as it was.
        self._square = torch.where(finite, square, self._square)
        self._momentum = torch.where(finite, momentum, self._momentum)
        size = self._learning_rate() / (1 - self._beta1**self._steps)
        change = torch.where(finite, size * momentum, 0.0)
        torch._foreach_sub_(self._parameters, self._per_parameter(change))
        return norm

    def save(self) -> dict[str, Tensor]:
        """Return both averages by parameter name and the number of steps taken."""
        averages = {"momentum": self._momentum, "square": self._square}
        return {
            f"{kind}.{name}": part
            for kind, average in averages.items()
            for name, part in zip(self._names, self._per_parameter(average), strict=True)
        } | {"steps": torch.tensor(self._steps)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `save` returned."""
        for kind, average in (("momentum", self._momentum), ("square", self._square)):
            for name, part in zip(self._names, self._per_parameter(average), strict=True):
                part.copy_(state[f"{kind}.{name}"])
        self._steps = int(state["steps"])

    def _clipped(self, gradients: list[Tensor], norms: Tensor) -> Tensor:
        """Return all gradients in one vector, each tensor's clipped."""
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        if not self._agc:
            return flat
        limits = torch.stack(torch._foreach_norm(self._parameters)).clamp_(min=SMALLEST_NORM)
        factors = (norms / (self._agc * limits)).clamp_(min=1).reciprocal_()
        sizes = torch.tensor(self._sizes, device=flat.device)
        return flat * factors.repeat_interleave(sizes, output_size=flat.numel())

    def _learning_rate(self) -> float:
        """Return the rate of this step, the `steps`-th."""
        if self._warmup == 0:
            return self._lr
        return self._lr * min(1.0, (self._steps - 1) / self._warmup)

    def _per_parameter(self, flat: Tensor) -> list[Tensor]:
        parts = zip(flat.split(self._sizes), self._parameters, strict=True)
        return [part.view(parameter.shape) for part, parameter in parts]
