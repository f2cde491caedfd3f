"""What Dreamer V1, V2 and V3 share: acting, the randomness of learning, saving."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from wmrun.agents.acceleration import Acceleration, compile_networks
from wmrun.agents.base import ActMode, Agent, Update
from wmrun.agents.batch import to_tensors
from wmrun.agents.metrics import gather
from wmrun.agents.networks import Networks
from wmrun.agents.policy import Carry, Exploration, Policy
from wmrun.agents.training_state import join, restore_generator, split
from wmrun.nn.optimizer import Optimizer
from wmrun.world_model import Fit, State

RewardTransform = Literal["identity", "tanh"]


class Dreamer(Agent):
    """Learns a world model from replay, and actor and critic from what the model imagines."""

    def __init__(
        self,
        networks: Networks,
        *,
        device: torch.device,
        discount: float,
        loss_scales: Mapping[str, float],
        reward_transform: RewardTransform = "identity",
        exploration: Exploration | None = None,
        sample_in_eval: bool = False,
    ) -> None:
        self.world_model = networks.world_model
        self.actor = networks.actor
        self.critic = networks.critic
        self.slow_critic = networks.slow_critic
        self._device = device
        self._discount = discount
        self._loss_scales = dict(loss_scales)
        self._reward_transform = torch.tanh if reward_transform == "tanh" else torch.clone
        self._exploration = exploration
        self._updates = 0
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=False)
        # Streams of their own for acting and learning: evaluations do not change what is learnt.
        self._act_rng = _new_generator(device)
        self._update_rng = _new_generator(device)
        self._eval_rng = _new_generator(device)
        generators: dict[ActMode, torch.Generator]
        generators = {"train": self._act_rng, "eval": self._eval_rng}
        self._policy = Policy(
            self.world_model, self.actor, generators, exploration, sample_in_eval=sample_in_eval
        )

    @abstractmethod
    def _optimizers(self) -> Mapping[str, Optimizer]:
        """Return the optimisers by the names under which they are saved."""

    @abstractmethod
    def _step(self, data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take a gradient step; return scalar metrics and the new entries of the trained rows."""

    def _modules(self) -> dict[str, nn.Module]:
        """Return everything with parameters or buffers that training depends on, by name."""
        modules: dict[str, nn.Module]
        modules = {"world_model": self.world_model, "actor": self.actor, "critic": self.critic}
        if self.slow_critic is not None:
            modules["slow_critic"] = self.slow_critic
        return modules

    def _prepare(self, batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        data = to_tensors(batch, self._device)
        data["reward"] = self._reward_transform(data["reward"])
        # The soft label: what the continue head predicts already contains the discount.
        data["continue"] = self._discount * (~data["is_terminal"]).to(torch.float32)
        return data

    def _fit(self, data: Mapping[str, Tensor], state: State | None = None) -> Fit:
        """Explain the batch with the world model, from `state` on."""
        batch, time = data["is_first"].shape
        noise = self.world_model.rssm.noise((time, batch), self._update_rng)
        return self.world_model.fit(data, noise, state)

    def _model_loss(self, fit: Fit) -> Tensor:
        """Return the scaled sum of the world model's losses."""
        scaled = [self._loss_scales.get(name, 1.0) * part for name, part in fit.losses.items()]
        return torch.stack(scaled).sum()

    @torch.no_grad()
    def _fit_metrics(self, fit: Fit) -> dict[str, Tensor]:
        latent = self.world_model.rssm.latent
        return {
            **{f"loss/{name}": part for name, part in fit.losses.items()},
            "kl/value": fit.kl.mean(),
            "kl/prior_entropy": latent.entropy(fit.observed.prior).mean(),
            "kl/post_entropy": latent.entropy(fit.observed.post).mean(),
        }

    def accelerate(self, acceleration: Acceleration) -> None:
        self._autocast = torch.autocast(
            self._device.type, torch.bfloat16, enabled=acceleration.bfloat16
        )
        if acceleration.compiled:
            compile_networks(*self._modules().values(), may_fall_back=acceleration.may_fall_back)

    def initial_carry(self, num_envs: int) -> Carry:
        return self._policy.initial_carry(num_envs)

    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Carry, mode: ActMode
    ) -> tuple[np.ndarray, Carry]:
        with self._autocast:
            return self._policy.act(obs, is_first, carry, mode)

    def seed_evaluation(self, seed: int) -> None:
        self._eval_rng.manual_seed(seed)

    def update(self, batch: Mapping[str, np.ndarray]) -> Update:
        with self._autocast:
            metrics, entries = self._step(self._prepare(batch))
        self._updates += 1
        numbers = gather(metrics, self._updates)
        return Update(numbers, {key: value.cpu().numpy() for key, value in entries.items()})

    def save(self) -> dict[str, Tensor]:
        counts = {"updates": torch.tensor(self._updates)}
        if self._exploration is not None:
            counts["explored"] = torch.tensor(self._exploration.steps)
        streams = {"act": self._act_rng.get_state(), "update": self._update_rng.get_state()}
        return join(
            {
                **{name: module.state_dict() for name, module in self._modules().items()},
                **{name: optimizer.save() for name, optimizer in self._optimizers().items()},
                "rng": streams,
                "count": counts,
            }
        )

    def load(self, state: Mapping[str, Tensor]) -> None:
        parts = split(state, expected=self.save())
        for name, module in self._modules().items():
            module.load_state_dict(parts.get(name, {}))
        for name, optimizer in self._optimizers().items():
            optimizer.load(parts[name])
        restore_generator(self._act_rng, parts["rng"]["act"])
        restore_generator(self._update_rng, parts["rng"]["update"])
        self._updates = int(parts["count"]["updates"])
        if self._exploration is not None:
            self._exploration.steps = int(parts["count"]["explored"])

    def parameter_counts(self) -> dict[str, int]:
        modules = {"world_model": self.world_model, "actor": self.actor, "critic": self.critic}
        return {
            name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()
        }


def _new_generator(device: torch.device) -> torch.Generator:
    """Return a generator on `device`, seeded from torch's global one."""
    seed = int(torch.randint(2**62, ()))
    return torch.Generator(device).manual_seed(seed)
