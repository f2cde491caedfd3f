"""Several categorical variables whose one-hot vectors stand in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from wmrun.nn.distributions import OneHot


class Categoricals:
    """Independent categoricals; a value is their one-hot vectors in a row, `[..., A]`.

    Neighbours with as many classes are computed as one: `V` variables are held as runs of `v`
    variables with `n` classes each, logits `[..., v, n]`. Built from these, and iterates over them.
    """

    def __init__(self, *logits: Tensor) -> None:
        self._runs = [OneHot(run) for run in logits]

    @classmethod
    def of(cls, logits: Tensor, counts: Sequence[int]) -> Categoricals:
        """Return the variables with `counts` classes whose logits stand in a row, `[..., A]`."""
        runs = [(len(list(same)), n) for n, same in groupby(counts)]
        parts = logits.split([v * n for v, n in runs], -1)
        return cls(*(part.unflatten(-1, run) for part, run in zip(parts, runs, strict=True)))

    def __iter__(self) -> Iterator[Tensor]:
        return (run.logits for run in self._runs)

    @property
    def mean(self) -> Tensor:
        """The probabilities `[..., A]`."""
        return torch.cat([run.logits.softmax(-1).flatten(-2) for run in self._runs], -1)

    @property
    def mode(self) -> Tensor:
        """The most probable value `[..., A]`."""
        return torch.cat([run.mode.flatten(-2) for run in self._runs], -1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return a value `[..., A]` for `noise` `[..., V]` uniform in [0, 1).

        Its gradient is that of the probabilities.
        """
        uniform = (part.unsqueeze(-1).contiguous() for part in noise.split(self._lengths(), -1))
        parts = zip(self._runs, uniform, strict=True)
        return torch.cat([run.sample(part).flatten(-2) for run, part in parts], -1)

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-probability `[...]` of a value; no gradient flows into the value."""
        shapes = [run.logits.shape[-2:] for run in self._runs]
        parts = sample.split([v * n for v, n in shapes], -1)
        values = (part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True))
        return _total(run.log_prob(v) for run, v in zip(self._runs, values, strict=True))

    def entropy(self) -> Tensor:
        """Return the entropy `[...]` in nats, summed over variables."""
        return _total(run.entropy() for run in self._runs)

    def loss(self, target: Tensor) -> Tensor:
        """Return the cross-entropy `[...]` in nats with the classes `target` `[..., V]`, from 0."""
        parts = zip(self._runs, target.split(self._lengths(), -1), strict=True)
        return -_total(
            run.logits.log_softmax(-1).gather(-1, part.unsqueeze(-1)).squeeze(-1)
            for run, part in parts
        )

    def _lengths(self) -> list[int]:
        return [run.logits.shape[-2] for run in self._runs]


def _total(runs: Iterable[Tensor]) -> Tensor:
    """Return the sum over the variables of all runs `[..., v]`."""
    return torch.cat(list(runs), -1).sum(-1)
