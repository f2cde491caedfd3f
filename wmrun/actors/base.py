"""What an actor promises to agents, and what it makes of action spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from wmrun_envserver.wire import spaces

from wmrun.errors import ComponentError
from wmrun.nn.observations import class_counts, describe_space


class ActionDistribution(Protocol):
    """A policy's distribution over actions `[..., A]`.

    Iterates over the tensors that it is built from, as a NamedTuple does; their axes begin with
    those of the batch, so that steps can be stacked.
    """

    def __iter__(self) -> Iterator[Tensor]: ...

    @property
    def mode(self) -> Tensor:
        """The action `[..., A]` to take in evaluation."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return an action `[..., A]` for the actor's `noise`, differentiable if the family is."""

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log-probability `[...]`, summed over the action."""

    def entropy(self) -> Tensor:
        """Return the entropy `[...]` in nats, summed over the action."""


class Actor(nn.Module, ABC):
    """The policy network. Built as `cls(feat_size, act_space, **options)`.

    Raises `ComponentError` when it has no actions for that space.
    """

    action_size: int
    """`A`."""

    @abstractmethod
    def forward(self, feat: Tensor) -> ActionDistribution:
        """Return the action distribution for `feat` `[..., F]`."""

    @abstractmethod
    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw what `sample` needs for a batch of `shape`, on the generator's device."""


def action_size(act_space: spaces.Space) -> int:
    """Return `A`: the entries of a Box, or the choices of a discrete space, which are one-hot.

    Raises `ComponentError` for any other space.
    """
    leaf = action_leaf(act_space)
    if isinstance(leaf, spaces.Box):
        return prod(leaf.shape)
    if counts := class_counts(leaf):
        return sum(counts)
    raise ComponentError(
        f"the action space is {describe_space(leaf)}; agents take one Box, Discrete, MultiDiscrete "
        "or MultiBinary space",
        hint="Choose a task with such a space, or wrap the environment in a backend of your own.",
    )


def action_leaf(act_space: spaces.Space) -> spaces.Space:
    """Return the only leaf of an action space, or the space itself when it has several."""
    leaves = spaces.leaves(act_space)
    return leaves[0].space if len(leaves) == 1 else act_space
