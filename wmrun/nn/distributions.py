"""What heads, decoders and actors predict.

Small records of tensors with the few operations that training needs.

Sampling takes its randomness as an argument, so that whole sequences of noise are drawn at once
from one generator and a sample is a function of its inputs.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
FEW = 16
"""Below so many classes, CPUs are faster along the other axes: 6 times for 1024 x 32 x 4."""


class Prediction(Protocol):
    """A distribution over a target, as heads and decoders return it."""

    @property
    def mean(self) -> Tensor: ...

    def loss(self, target: Tensor) -> Tensor:
        """Return the negative log-likelihood, summed over event axes, in nats."""


class UnitNormal(NamedTuple):
    """Independent normals of unit variance; the last `event_dims` axes of `mean` are one event."""

    mean: Tensor
    event_dims: int

    def loss(self, target: Tensor) -> Tensor:
        """Return ½Σ(x - mean)² with its constants, n·½ln 2π, as the original code reports it."""
        error = 0.5 * (self.mean - target).square()
        if self.event_dims:
            error = error.flatten(-self.event_dims).sum(-1)
        numbers = math.prod(self.mean.shape[self.mean.ndim - self.event_dims :])
        return error + numbers * HALF_LOG_2PI


class SquaredError(NamedTuple):
    """Values judged by Σ(x - mean)², without half or constants (V3 3.1; outs.py:129-141)."""

    mean: Tensor
    event_dims: int

    def loss(self, target: Tensor) -> Tensor:
        error = (self.mean - target).square()
        return error.flatten(-self.event_dims).sum(-1) if self.event_dims else error


class Bernoulli(NamedTuple):
    """A coin per element of `logit`; targets may be soft labels in [0, 1]."""

    logit: Tensor

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logit)

    def loss(self, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logit, target, reduction="none")


class DiagonalNormal(NamedTuple):
    """Independent normals over the last axis."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + std·noise for standard normal `noise`."""
        return torch.addcmul(self.mean, self.std, noise)

    def entropy(self) -> Tensor:
        return (self.std.log() + (0.5 + HALF_LOG_2PI)).sum(-1)

    def kl(self, other: DiagonalNormal) -> Tensor:
        """Return KL[self‖other], summed over the last axis."""
        ratio = self.std / other.std
        shift = (self.mean - other.mean) / other.std
        return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).sum(-1)


class OneHot(NamedTuple):
    """A categorical over the last axis of `logits`, with straight-through gradients."""

    logits: Tensor

    @property
    def mode(self) -> Tensor:
        return _one_hot(self.logits.argmax(-1, keepdim=True), self.logits)

    def sample(self, noise: Tensor) -> Tensor:
        """Return a one-hot sample for `noise` `[..., 1]` uniform in [0, 1).

        The value is exactly one-hot; its gradient is that of softmax(logits) (V2 section 2.1,
        Algorithm 1).
        """
        return sample_one_hot(mixed_probs(self.logits), noise)

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-probability of a one-hot sample; no gradient flows into the sample."""
        return (self.logits.log_softmax(-1) * sample.detach()).sum(-1)

    def entropy(self) -> Tensor:
        log_probs = self.logits.log_softmax(-1)
        return -(log_probs.exp() * log_probs).sum(-1)

    def kl(self, other: OneHot) -> Tensor:
        """Return KL[self‖other] per variable."""
        log_probs = self.logits.log_softmax(-1)
        return (log_probs.exp() * (log_probs - other.logits.log_softmax(-1))).sum(-1)


def mixed_probs(logits: Tensor, unimix: float = 0.0) -> Tensor:
    """Return (1 - unimix)·softmax(logits) + unimix / K over the last axis (V3 3.2)."""
    classes = logits.shape[-1]
    if classes < FEW and logits.ndim > 1:
        probs = logits.transpose(-1, -2).softmax(-2).transpose(-1, -2)
    else:
        probs = logits.softmax(-1)
    return (1 - unimix) * probs + unimix / classes if unimix else probs


def sample_one_hot(probs: Tensor, noise: Tensor) -> Tensor:
    """Return one-hot samples of `probs` `[..., K]` for `noise` `[..., 1]` uniform in [0, 1).

    The value is exactly one-hot, the gradient that of the probabilities.
    """
    # Inverse transform: one uniform number per variable. Gumbel noise takes one per class and was
    # 8 times slower on a CPU for 800 x 32 x 32.
    classes = probs.shape[-1]
    cumulative = probs.detach().cumsum(-1)
    if classes < FEW:
        index = (cumulative <= noise).sum(-1, keepdim=True)
    else:
        index = torch.searchsorted(cumulative, noise, right=True)
    sample = _one_hot(index.clamp_(max=classes - 1), probs)
    return sample + (probs - probs.detach()) if probs.requires_grad else sample


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(-1, index, 1.0)
