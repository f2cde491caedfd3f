"""Return estimators over imagined trajectories."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_return(
    reward: Tensor, discount: Tensor, value: Tensor, lambda_: float | Tensor
) -> Tensor:
    """Return G_t = r_t + d_t·((1-λ)·v_{t+1} + λ·G_{t+1}) for t = 0..H-1, with G_H = v_H.

    `reward` and `discount` are `[H, ...]` and `value` is `[H+1, ...]`. Row t holds the reward on
    arrival in state t, the discount of what follows and the value; the result is `[H, ...]`. λ = 0
    gives the one-step return, λ = 1 the discounted sum with bootstrap; it may differ between the
    elements of `[H, ...]`. In this convention, that of Dreamer V1 and V2, v_t includes r_t (V1
    tools.py:316-338, V2 common/other.py:77-99). In V3's it does not: give it the rewards and
    discounts of the states that follow, r_{t+1} and d_{t+1}, as row t (V3 agent.py:482-490).
    """
    one_step = reward + (1 - lambda_) * discount * value[1:]
    carried = (lambda_ * discount).unbind()
    total, returns = value[-1], []
    for base, factor in zip(reversed(one_step.unbind()), reversed(carried), strict=True):
        total = torch.addcmul(base, factor, total)
        returns.append(total)
    return torch.stack(returns[::-1])
