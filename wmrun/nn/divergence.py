"""Objectives on the divergence between posterior and prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

KL = Callable[[Tensor, Tensor], Tensor]
"""From the statistics of two distributions `[..., P]` to KL[first‖second] `[...]` in nats."""


class KLObjective(Protocol):
    """What a world model minimises to make its prior and its posterior agree."""

    def __call__(self, kl: KL, post: Tensor, prior: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return scalar losses by name and the divergence `[...]` of statistics `[..., P]`."""


@dataclass(frozen=True)
class PlainKL:
    """max(mean KL[post‖prior], free), with gradients to both sides (V1 dreamer.py:157-177)."""

    free: float = 3.0

    def __call__(self, kl: KL, post: Tensor, prior: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        value = kl(post, prior)
        return {"kl": value.mean().clamp(min=self.free)}, value.detach()


@dataclass(frozen=True)
class BalancedKL:
    """KL balancing with free nats (V2 section 2.2; nets.py:162-180).

    loss = α·f(KL[sg(post)‖prior]) + (1-α)·f(KL[post‖sg(prior)]) with α = `balance`: the prior gets
    the large share. f is max(mean x, free) if `free_avg`, else mean(max(x, free)). `forward` swaps
    the arguments of both divergences and of the reported value; α still weights the term that
    trains the prior. A balance of exactly 0.5 is the single divergence with gradients to both sides
    and per-element free nats, as in the original.
    """

    balance: float = 0.8
    free: float = 1.0
    free_avg: bool = True
    forward: bool = False

    def __call__(self, kl: KL, post: Tensor, prior: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        if self.forward:
            kl = _swapped(kl)
        if self.balance == 0.5:
            value = kl(post, prior)
            return {"kl": value.clamp(min=self.free).mean()}, value
        train_prior = kl(post.detach(), prior)
        train_post = kl(post, prior.detach())
        loss = self.balance * self._clip(train_prior) + (1 - self.balance) * self._clip(train_post)
        return {"kl": loss}, train_post.detach()

    def _clip(self, value: Tensor) -> Tensor:
        if self.free_avg:
            return value.mean().clamp(min=self.free)
        return value.clamp(min=self.free).mean()


@dataclass(frozen=True)
class SplitKL:
    """V3's two losses, free nats per element (V3 rssm.py:120-133).

    dyn = mean(max(KL[sg(post)‖prior], free)) and rep = mean(max(KL[post‖sg(prior)], free)). With
    `free_avg` the limit is on the batch means instead, as in V2.
    """

    free: float = 1.0
    free_avg: bool = False

    def __call__(self, kl: KL, post: Tensor, prior: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        dyn = kl(post.detach(), prior)
        rep = kl(post, prior.detach())
        return {"dyn": self._clip(dyn), "rep": self._clip(rep)}, rep.detach()

    def _clip(self, value: Tensor) -> Tensor:
        if self.free_avg:
            return value.mean().clamp(min=self.free)
        return value.clamp(min=self.free).mean()


def _swapped(kl: KL) -> KL:
    return lambda post, prior: kl(prior, post)
