"""What optimisers promise to agents, and Adam in Keras' form, as Dreamer V1 and V2 use it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

BETAS: Final = (0.9, 0.999)


class Optimizer(ABC):
    """Steps on the gradient of one loss; never changes a parameter when that loss is not finite."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        named = dict(parameters)
        self._names = list(named)
        self._parameters: list[Tensor] = list(named.values())
        self._steps = 0

    def step(self, loss: Tensor) -> Tensor:
        """Differentiate the scalar `loss`, step, and return the gradient's norm before clipping."""
        return self.apply(self.gradients(loss), loss.detach())

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the scalar `loss`, in the order of the parameters."""
        return torch.autograd.grad(
            loss, self._parameters, allow_unused=True, materialize_grads=True
        )

    @abstractmethod
    def apply(self, gradients: Iterable[Tensor], loss: Tensor | None = None) -> Tensor:
        """Step on `gradients`, given in the order of the parameters, as `step` does."""

    @abstractmethod
    def save(self) -> dict[str, Tensor]:
        """Return the moments by parameter name and the number of steps taken."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `save` returned."""


class Adam(Optimizer):
    """Steps on the gradient of one loss; never changes a parameter when that loss is not finite.

    In this order (V2 common/tfutils.py:65-151): the gradient is scaled down to global norm `clip`
    (0: never), every parameter is multiplied by `1 - weight_decay`, independent of the learning
    rate, and p -= lr·sqrt(1-β2^t)/(1-β1^t) · m / (sqrt(v) + eps): Keras adds eps before the bias
    correction, torch after it.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        eps: float,
        clip: float,
        weight_decay: float,
    ) -> None:
        super().__init__(parameters)
        self._lr, self._eps, self._clip, self._weight_decay = lr, eps, clip, weight_decay
        self._m = [torch.zeros_like(p) for p in self._parameters]
        self._v = [torch.zeros_like(p) for p in self._parameters]

    @torch.no_grad()
    def apply(self, gradients: Iterable[Tensor], loss: Tensor | None = None) -> Tensor:
        """Step on `gradients`, given in the order of the parameters, as `step` does."""
        aligned = [aligned_as(p, g) for g, p in zip(gradients, self._parameters, strict=True)]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(aligned)))
        finite = torch.isfinite(norm if loss is None else norm + loss)
        self._steps += 1
        if self._weight_decay:
            torch._foreach_mul_(self._parameters, 1 - self._weight_decay * finite)
        # torch's fused kernel adds eps to sqrt(v / (1-β2^t)), divides gradients by grad_scale, and
        # changes nothing where found_inf is set: no device sync.
        torch._fused_adam_(
            self._parameters,
            aligned,
            self._m,
            self._v,
            [],
            [torch.full((), float(self._steps), device=norm.device)] * len(aligned),
            lr=self._lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=self._eps / (1 - BETAS[1] ** self._steps) ** 0.5,
            amsgrad=False,
            maximize=False,
            grad_scale=(norm / self._clip).clamp(min=1) if self._clip else None,
            found_inf=(~finite).to(torch.float32),
        )
        return norm

    def save(self) -> dict[str, Tensor]:
        """Return the moments by parameter name and the number of steps taken."""
        state = {f"m.{name}": m for name, m in zip(self._names, self._m, strict=True)}
        state |= {f"v.{name}": v for name, v in zip(self._names, self._v, strict=True)}
        return state | {"steps": torch.tensor(self._steps)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `save` returned."""
        for name, m, v in zip(self._names, self._m, self._v, strict=True):
            m.copy_(state[f"m.{name}"])
            v.copy_(state[f"v.{name}"])
        self._steps = int(state["steps"])


def aligned_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Give the gradient the parameter's memory layout, which fused kernels take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
