"""The least time of an update: its operations over the rate of matrix products here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
_ROUNDS = 5
_LONGEST_S = 1.0
"""A product that takes longer is the last that is tried."""


@dataclass(frozen=True)
class Floor:
    """Operations of one update, and what this device does of them per second, by dtype."""

    operations: Mapping[torch.dtype, int]
    rates: Mapping[torch.dtype, float]

    @property
    def seconds(self) -> float:
        return sum(count / self.rates[dtype] for dtype, count in self.operations.items())

    @property
    def total_operations(self) -> int:
        return sum(self.operations.values())


def measure_floor(update: Callable[[], Any], device: torch.device) -> Floor:
    """Count the operations of one `update()`, which is run, and measure matrix products."""
    operations = count_operations(update)
    return Floor(operations, {dtype: product_rate(device, dtype) for dtype in operations})


def count_operations(run: Callable[[], Any]) -> dict[torch.dtype, int]:
    """Return the floating-point operations of `run()` in matrix products and convolutions.

    Forward and backward passes count, multiplications and additions apart, by the dtype that they
    are computed in. What is compiled runs eagerly here: a compiled kernel hides what it does.
    """
    with torch.compiler.set_stance("force_eager"), _OperationCounter() as counter:
        run()
    return dict(counter.operations)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the best rate of square matrix products over several sizes, in operations/s.

    It is that of the threads that torch uses now and, for float32 on CUDA, of the TF32 setting.
    """
    best = 0.0
    for size in _SIZES[device.type]:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = min(_seconds(a, b) for _ in range(_ROUNDS))
        best = max(best, 2 * size**3 / seconds)
        if seconds > _LONGEST_S:
            break
    return best


class _OperationCounter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:  # in inference mode composite operators arrive whole
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        result = func(*args, **kwargs)
        self.operations[_dtype(result)] += formula(*args, **kwargs, out_val=result)
        return result


def _dtype(result: Any) -> torch.dtype:
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return next(output.dtype for output in outputs if isinstance(output, Tensor))


def _seconds(a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    torch.mm(a, b)
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start
