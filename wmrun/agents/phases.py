"""What the time of an update goes into."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Phase = Literal["world_model", "imagination", "actor_critic", "optimizer"]

_recorder: _Recorder | None = None


class _Recorder:
    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """Mark a part of an update; costs nothing while nobody records. Phases do not nest."""
    recorder = _recorder
    if recorder is None:
        yield
        return
    start = recorder.now()
    yield
    recorder.seconds[name] += recorder.now() - start


@contextmanager
def record_phases(device: torch.device) -> Iterator[dict[str, float]]:
    """Add up the seconds of every phase that ends inside, waiting for `device` at each boundary."""
    global _recorder
    _recorder = recorder = _Recorder(device)
    try:
        yield recorder.seconds
    finally:
        _recorder = None
