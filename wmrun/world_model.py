"""The world model: encoder, recurrent state-space model, decoder and heads.

Axes: `B` batch, `T` time, `N` any batch, `H` imagined steps, `A` action, `E` embed, `D` deter, `Z`
flat stoch, `P` statistics of a latent, `F` = Z + D feat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmrun.decoders.base import Decoder
from wmrun.dynamics.base import Dynamics
from wmrun.encoders.base import Encoder
from wmrun.heads.base import Head
from wmrun.latents.base import Latent
from wmrun.nn.divergence import KLObjective
from wmrun.nn.layers import MLP, Activation, Hidden, Norm, Out


class State(NamedTuple):
    """The model state: `deter` `[..., D]` and flat `stoch` `[..., Z]`."""

    deter: Tensor
    stoch: Tensor

    @property
    def feat(self) -> Tensor:
        """What decoder, heads, actor and critic see: `[stoch, deter]`, `[..., F]`."""
        return torch.cat([self.stoch, self.deter], -1)

    def detach(self) -> State:
        return State(self.deter.detach(), self.stoch.detach())

    def flatten(self) -> State:
        """Merge batch and time: `[B, T, ...]` to `[B·T, ...]`."""
        return State(self.deter.flatten(0, 1), self.stoch.flatten(0, 1))


class Observed(NamedTuple):
    """A sequence seen through the model.

    States and the statistics of posterior and prior, all `[B, T, ...]`.
    """

    state: State
    post: Tensor
    prior: Tensor


class RSSM(nn.Module):
    """The recurrent state-space model (V2 section 2.1; nets.py:12-160).

    The deterministic path is a component, as is the family of the stochastic state; the prior has
    `prior_layers` hidden layers on `deter`, the posterior one hidden layer on `[deter, embed]`.
    Noise is an argument everywhere, so every method is a function of its inputs; `noise` draws it.
    """

    def __init__(
        self,
        latent: Latent,
        dynamics: Dynamics,
        embed_size: int,
        *,
        prior_layers: int = 1,
        hidden: int,
        act: Activation,
        norm: Norm,
    ) -> None:
        super().__init__()
        deter = dynamics.deter_size
        self.latent = latent
        self.dynamics = dynamics
        self.img_out = MLP(deter, layers=prior_layers, units=hidden, act=act, norm=norm)
        self.img_dist = Out(self.img_out.out_size, latent.stats_size)
        self.obs_out = Hidden(deter + embed_size, hidden, act=act, norm=norm)
        self.obs_dist = Out(hidden, latent.stats_size)
        self.feat_size = latent.flat_size + deter

    def initial(self, n: int) -> State:
        """Return the zero state for `n` sequences."""
        like = self.img_dist.weight
        return State(
            like.new_zeros(n, self.dynamics.deter_size), like.new_zeros(n, self.latent.flat_size)
        )

    def state(self, feat: Tensor) -> State:
        """Return the state that `feat` `[..., F]` is made of."""
        stoch, deter = feat.split([self.latent.flat_size, self.dynamics.deter_size], -1)
        return State(deter, stoch)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw the noise of samples of batch shape `shape`; for a sequence, time comes first."""
        return self.latent.noise(shape, generator)

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        noise: Tensor,
        state: State | None = None,
    ) -> Observed:
        """Follow a batch of sequences, from `state` (zero when None).

        `embed` is `[B, T, E]`; `action` `[B, T, A]` holds the actions that led to the observations;
        `noise` is that of batch shape `(T, B)`. Where `is_first` `[B, T]`, the state and the action
        before are zeroed.
        """
        deter, stoch = self.initial(len(embed)) if state is None else state
        keep = (~is_first).to(action.dtype).unsqueeze(-1)
        rows = zip(
            # Time-major copies keep the steps' inputs contiguous.
            self._project(embed).transpose(0, 1).contiguous().unbind(),
            self.dynamics.embed_action(action * keep).transpose(0, 1).contiguous().unbind(),
            keep.transpose(0, 1).contiguous().unbind(),
            noise.unbind(),
            strict=True,
        )
        weight = self._deter_weight()
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        for projected, act, kept, eps in rows:
            deter = self.dynamics(deter * kept, stoch * kept, act)
            post = self._post(deter, projected, weight)
            stoch = self.latent.sample(post, eps)
            steps.append((deter, stoch, post))
        deters, stochs, posts = (torch.stack(parts, 1) for parts in zip(*steps, strict=True))
        return Observed(State(deters, stochs), posts, self.prior(deters))

    def imagine(
        self, start: State, policy: Callable[[Tensor, int], Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict ahead of `start` `[N, ...]`, one step for each row of `noise`.

        `policy(feat, step)` chooses the action `[N, A]` in a state. Returns the feats `[H+1, N, F]`
        of the states, the start first, and the actions `[H, N, A]`, of which action h leads from
        state h to state h+1.
        """
        state, feats, actions = start, [start.feat], []
        for step, eps in enumerate(noise.unbind()):
            actions.append(policy(feats[-1], step))
            state = self.img_step(state, actions[-1], eps)
            feats.append(state.feat)
        return torch.stack(feats), torch.stack(actions)

    def obs_step(
        self, state: State, action: Tensor, embed: Tensor, is_first: Tensor, noise: Tensor
    ) -> tuple[State, Tensor]:
        """Return the next state `[N, ...]`, given its observation, and its posterior `[N, P]`.

        Where `is_first` `[N]`, `state` and `action` are zeroed before use.
        """
        keep = (~is_first).to(action.dtype).unsqueeze(-1)
        embedded = self.dynamics.embed_action(action * keep)
        deter = self.dynamics(state.deter * keep, state.stoch * keep, embedded)
        post = self._post(deter, self._project(embed), self._deter_weight())
        return State(deter, self.latent.sample(post, noise)), post

    def img_step(self, state: State, action: Tensor, noise: Tensor) -> State:
        """Return the next state `[N, ...]`, sampled from the prior."""
        deter = self.dynamics(state.deter, state.stoch, self.dynamics.embed_action(action))
        return State(deter, self.latent.sample(self.prior(deter), noise))

    def prior(self, deter: Tensor) -> Tensor:
        """Return the stochastic state's statistics `[..., P]` given `deter` `[..., D]` alone."""
        return self.img_dist(self.img_out(deter))

    def _post(self, deter: Tensor, projected: Tensor, weight: Tensor) -> Tensor:
        hidden = self.obs_out.activate(torch.addmm(projected, deter, weight.t()))
        return self.obs_dist(hidden)

    def _project(self, embed: Tensor) -> Tensor:
        # The posterior's layer acts on [deter, embed]; its embed part needs no recurrence, and is
        # computed for all steps at once.
        weight = self.obs_out.dense.weight[:, self.dynamics.deter_size :]
        return nn.functional.linear(embed, weight, self.obs_out.dense.bias)

    def _deter_weight(self) -> Tensor:
        return self.obs_out.dense.weight[:, : self.dynamics.deter_size]


class Fit(NamedTuple):
    """How well the world model explains a batch."""

    losses: dict[str, Tensor]
    """Scalar means over `[B, T]`, unscaled.

    One per observation key, "reward", those of the KL objective and, if it is modelled, "continue".
    """
    observed: Observed
    kl: Tensor
    """KL divergence `[B, T]`, in nats, without free nats or balancing."""


class WorldModel(nn.Module):
    """Encoder, RSSM, decoder, reward head and, optionally, continue head."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        rssm: RSSM,
        decoder: Decoder,
        reward_head: Head,
        continue_head: Head | None,
        kl_objective: KLObjective,
        detached_heads: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.rssm = rssm
        self.decoder = decoder
        self.reward_head = reward_head
        self.continue_head = continue_head
        self._kl_objective = kl_objective
        self._detached_heads = detached_heads

    def fit(self, batch: Mapping[str, Tensor], noise: Tensor, state: State | None = None) -> Fit:
        """Return the losses on a batch `[B, T, ...]` that goes on from `state` (zero when None).

        It holds the observation keys, `action`, `is_first` and the heads' targets: `reward` and,
        where there is a continue head, `continue`.

        Heads named in `detached_heads` ("decoder", "reward", "continue") learn, but do not shape
        the state.
        """
        embed = self.encoder(batch)
        observed = self.rssm.observe(embed, batch["action"], batch["is_first"], noise, state)
        feat = observed.state.feat
        predictions = dict(self.decoder(self._input("decoder", feat)))
        targets = dict(self.decoder.targets(batch))
        predictions["reward"] = self.reward_head(self._input("reward", feat))
        targets["reward"] = batch["reward"]
        if self.continue_head is not None:
            predictions["continue"] = self.continue_head(self._input("continue", feat))
            targets["continue"] = batch["continue"]
        losses = {key: p.loss(targets[key]).mean() for key, p in predictions.items()}
        divergence, kl = self._kl_objective(self.rssm.latent.kl, observed.post, observed.prior)
        return Fit(losses | divergence, observed, kl)

    def _input(self, head: str, feat: Tensor) -> Tensor:
        return feat.detach() if head in self._detached_heads else feat
