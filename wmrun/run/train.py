"""The training loop: step, store, update, evaluate, checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmrun.agents.base import Agent, Entries, Metrics
from wmrun.agents.carry import put_slots, select_slots
from wmrun.config.schema import RunConfig
from wmrun.envs.driver import Driver, Transitions
from wmrun.envs.errors import EnvStopped
from wmrun.errors import TrainingDiverged
from wmrun.replay.sampler import Batch, Sampler
from wmrun.replay.storage import Replay
from wmrun.run.checkpoint import Checkpoint, CheckpointStore
from wmrun.run.episodes import EpisodeMeter
from wmrun.run.evaluate import Evaluation
from wmrun.run.metrics import MetricMeans, SpeedMeter
from wmrun.run.progress import RunProgress
from wmrun.run.schedules import Every, TrainRatio
from wmrun.run.seeding import load_global_generators, save_global_generators, seed_for
from wmrun.run.signals import StopSignals
from wmrun.run.tracker import Counters, Tracker

_SHOWN = ("loss/model", "loss/actor")
"""Metrics that stay in view while training."""
_ACTS = {"random": "random actions", "policy": "the policy"}
_PATIENCE = 10_000
"""Agent steps of each slot, after the prefill, within which sequences should have come up."""


@dataclass(frozen=True)
class TrainingParts:
    """Everything the loop uses, built elsewhere; tests put fakes in."""

    agent: Agent
    driver: Driver
    save_envs: Callable[[], dict[str, int]]
    """Returns what the environments of a resumed run need to know."""
    replay: Replay
    sampler: Sampler
    evaluate: Callable[[Counters], Evaluation | None]
    """Plays evaluation episodes on a session of their own; None where there were none."""
    tracker: Tracker
    checkpoints: CheckpointStore
    progress: RunProgress
    signals: StopSignals
    diverged_dir: Path
    """Where the batch of a loss that is not finite is written."""


class Trainer:
    """One training run. Counts env steps (simulator frames), agent steps and updates apart."""

    def __init__(
        self, settings: RunConfig, parts: TrainingParts, *, action_repeat: int, seed: int
    ) -> None:
        self.settings = settings
        self.parts = parts
        self.counters = Counters(env_steps=0, agent_steps=0, updates=0)
        self._action_repeat = action_repeat
        self._ratio = TrainRatio(
            settings.train_ratio, parts.sampler.rows_per_batch, burst=settings.update_burst
        )
        self._evaluate_now = Every(settings.eval_every)
        self._checkpoint_now = Every(settings.checkpoint_every)
        self._log_now = Every(settings.log_every)
        self._random = np.random.default_rng(seed_for(seed, "prefill"))
        self._episodes = EpisodeMeter(parts.driver.num_envs)
        self._means = MetricMeans()
        self._speeds = SpeedMeter(self.counters)
        self._resumed = False
        self._prefilled = False
        self._explained_waiting = False
        self._evaluated_at = -1
        self._last_score = -math.inf

    def run(self) -> Counters:
        """Train to the end that `run` sets or a stop signal, ending with a checkpoint.

        Raises `TrainingDiverged` after saving the batch, and `EnvError` when environments fail for
        good; a checkpoint is written before the latter leaves.
        """
        try:
            self._loop()
            self._finish()
        except TrainingDiverged:
            raise
        except Exception:
            self._save_what_was_learnt()
            raise
        self.checkpoint()
        return self.counters

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`: parameters, replay, schedules, random streams, counters."""
        state = checkpoint.state()
        self.parts.agent.load(checkpoint.tensors("agent"))
        self.parts.replay.load(state["replay"])
        self.parts.sampler.load(state["sampler"])
        self._ratio.load(state["train_ratio"])
        self._evaluate_now.load(state["next_evaluation"])
        self._checkpoint_now.load(state["next_checkpoint"])
        self._log_now.load(state["next_log"])
        self._random.bit_generator.state = state["prefill_random"]
        self.counters = Counters(**state["counters"])
        self._speeds = SpeedMeter(self.counters)
        self._resumed = True
        self._prefilled = self.counters.updates > 0
        load_global_generators(checkpoint.tensors("generators"))
        self.parts.checkpoints.drop_after(checkpoint)
        self.parts.progress.advance(self.counters)

    def checkpoint(self) -> Checkpoint:
        """Write a complete checkpoint of the run as it stands."""
        self.parts.progress.phase("writing checkpoint")
        state: dict[str, Any] = {
            "counters": dataclasses.asdict(self.counters),
            "envs": self.parts.save_envs(),
            "replay": self.parts.replay.save(),
            "sampler": self.parts.sampler.save(),
            "train_ratio": self._ratio.save(),
            "next_evaluation": self._evaluate_now.save(),
            "next_checkpoint": self._checkpoint_now.save(),
            "next_log": self._log_now.save(),
            "prefill_random": self._random.bit_generator.state,
        }
        tensors = {"agent": self.parts.agent.save(), "generators": save_global_generators()}
        return self.parts.checkpoints.write(self.counters.env_steps, tensors, state)

    def _loop(self) -> None:
        """Train until the run is complete or told to stop, be it while environments are away."""
        try:
            self._train()
        except EnvStopped:
            assert self._stopping, "environments are given up only when a signal came"

    def _train(self) -> None:
        parts = self.parts
        parts.progress.phase("resetting environments")
        rows = self._store(self._first_rows())
        carry = parts.agent.initial_carry(parts.driver.num_envs)
        while not (self._complete or self._stopping):
            action, carry = self._answer(rows, carry)
            parts.driver.step_begin(action)
            self._pay_updates()  # while the environments step in their own process
            rows = self._store(parts.driver.step_end())
            self._report()

    def _answer(self, rows: Transitions, carry: Any) -> tuple[np.ndarray, Any]:
        """Return the actions for `rows`, and the carry of all slots after them."""
        by = self.settings.prefill_with
        if self._prefilling:
            self.parts.progress.phase(f"prefilling with {_ACTS[by]}")
            if by == "random":
                return self.parts.driver.adapter.random(self._random, len(rows.slots)), carry
        else:
            self._pretrain()
            self.parts.progress.phase("training")
        agent, part = self.parts.agent, select_slots(carry, rows.slots)
        action, part = agent.act(rows.obs, rows.is_first, part, "train")
        self.parts.replay.write_newest(rows.slots, agent.entries(part))
        return action, put_slots(carry, rows.slots, part)

    def _finish(self) -> None:
        """Report what the last intervals left open."""
        if self.counters.updates == 0 and not (self._stopping or self._explained_waiting):
            why = self._no_update()
            self.parts.progress.say(f"nothing was learnt: no update was taken. {why}")
        if self._means:
            self._log()
        if self.settings.eval_every > 0 and self._evaluated_at != self.counters.env_steps:
            self._evaluate()

    def _no_update(self) -> str:
        """Return why the run had no update."""
        if not self.parts.sampler.ready:
            return str(self.parts.sampler.shortage())
        return "The agent steps after the prefill did not earn one (run.train_ratio)."

    @property
    def _complete(self) -> bool:
        goal = self.settings.stop_at_return
        solved = goal is not None and self._last_score >= goal
        return solved or self.counters.env_steps >= self.settings.env_steps

    @property
    def _stopping(self) -> bool:
        return self.parts.signals.received is not None

    @property
    def _prefilling(self) -> bool:
        """Whether there was never enough in the replay to begin learning."""
        if not self._prefilled:
            enough = self.counters.agent_steps >= self.settings.prefill
            self._prefilled = enough and self.parts.sampler.ready
        return not self._prefilled

    def _first_rows(self) -> Transitions:
        """Reset every slot; after a resume the episodes that the stop cut open end as truncated."""
        rows = self.parts.driver.reset()
        if not self._resumed:
            return rows
        return dataclasses.replace(rows, broken=tuple(range(self.parts.driver.num_envs)))

    def _store(self, rows: Transitions) -> Transitions:
        self.parts.replay.append(rows)
        for episode in self._episodes.add(rows):
            finished = {"train/return": episode.episode_return, "train/length": episode.length}
            self._means.add(finished)
            self.parts.progress.show({"return": episode.episode_return})
        for failure in rows.errors:
            self.parts.progress.say(f"training: {failure}")
        decisions = int((~rows.is_first).sum())
        if not self._prefilling and self.parts.sampler.ready:
            self._ratio.earn(decisions)
        self._count(agent_steps=decisions, env_steps=decisions * self._action_repeat)
        return rows

    def _pretrain(self) -> None:
        """Take the updates that come before the first act of the policy."""
        while self.counters.updates < self.settings.pretrain and not self._stopping:
            self.parts.progress.phase("pretraining")
            self._update()

    def _pay_updates(self) -> None:
        while self._ratio.update_due and self.parts.sampler.ready and not self._stopping:
            self._update()
            self._ratio.pay()

    def _update(self) -> None:
        batch = self.parts.sampler.sample()
        try:
            update = self.parts.agent.update(batch.arrays)
        except TrainingDiverged as error:
            raise self._with_saved_batch(error, batch) from error
        self._write_back(batch, update.entries)
        self._means.add(update.metrics)
        self._count(updates=1)

    def _write_back(self, batch: Batch, entries: Entries) -> None:
        """Put what the update knows of the rows that it trained on in the place of older values."""
        trained = batch.starts + self.parts.agent.replay_context
        self.parts.replay.write(batch.slots, trained, entries)

    def _with_saved_batch(self, error: TrainingDiverged, batch: Batch) -> TrainingDiverged:
        self.parts.diverged_dir.mkdir(parents=True, exist_ok=True)
        file = self.parts.diverged_dir / f"batch_update_{self.counters.updates}.npz"
        np.savez_compressed(file, **batch.arrays)  # type: ignore[arg-type]
        return TrainingDiverged(
            f"{error.message} at update {self.counters.updates} "
            f"(env step {self.counters.env_steps:,})",
            hint=f"The batch is in {file}. The last checkpoint is from before; lower the learning "
            "rate or look for outliers in the batch.",
        )

    def _report(self) -> None:
        """Log, evaluate and checkpoint where their intervals say so."""
        if self._log_now(self.counters.env_steps):
            self._log()
        self._explain_waiting()
        if self._stopping:
            return
        if not self._prefilling and self._evaluate_now(self.counters.env_steps):
            self._evaluate()
        if self._checkpoint_now(self.counters.env_steps):
            self.checkpoint()

    def _explain_waiting(self) -> None:
        """Say once why nothing is learnt although the prefill is done, if that may stay so."""
        steps, sampler = self.counters.agent_steps, self.parts.sampler
        waited = steps - self.settings.prefill
        if self._explained_waiting or waited < 0 or sampler.ready:
            return
        if sampler.hopeless or waited >= _PATIENCE * self.parts.driver.num_envs:
            self._explained_waiting = True
            self.parts.progress.say(f"no updates at {steps:,} agent steps: {sampler.shortage()}")

    def _log(self) -> None:
        speeds = self._speeds.take(self.counters)
        metrics = {**self._means.take(), **speeds, **self._replay_metrics()}
        self.parts.tracker.log(metrics, self.counters)
        self.parts.progress.show({name: metrics[name] for name in _SHOWN if name in metrics})

    def _evaluate(self) -> None:
        if self._stopping:
            return
        self.parts.progress.phase("evaluating")
        evaluation = self.parts.evaluate(self.counters)
        self._evaluated_at = self.counters.env_steps
        if evaluation is None:
            return
        metrics = evaluation.metrics()
        self.parts.tracker.log(metrics, self.counters)
        self._last_score = score = metrics["eval/return_mean"]
        self.parts.progress.show({"eval return": score})
        self.parts.progress.say(
            f"evaluation at {self.counters.env_steps:,} env steps: "
            f"return {score:.1f} ± {metrics['eval/return_std']:.1f} "
            f"over {len(evaluation.episodes)} episodes"
        )
        best = self.parts.checkpoints.best_score()
        if best is None or score >= best:
            self.parts.checkpoints.mark_best(self.checkpoint(), score)

    def _replay_metrics(self) -> Metrics:
        trained_steps = max(1, self.counters.agent_steps - self.settings.prefill)
        earned = max(0, self.counters.updates - self.settings.pretrain)
        replayed = earned * self.parts.sampler.rows_per_batch
        return {
            "replay/rows": float(len(self.parts.replay)),
            "replay/achieved_train_ratio": replayed / trained_steps,
        }

    def _count(self, *, env_steps: int = 0, agent_steps: int = 0, updates: int = 0) -> None:
        self.counters = Counters(
            env_steps=self.counters.env_steps + env_steps,
            agent_steps=self.counters.agent_steps + agent_steps,
            updates=self.counters.updates + updates,
        )
        self.parts.progress.advance(self.counters)

    def _save_what_was_learnt(self) -> None:
        """Write a checkpoint while another error is on its way, which must not be hidden."""
        if self.counters.updates == 0:
            return
        try:
            checkpoint = self.checkpoint()
        except Exception as error:
            self.parts.progress.say(f"no checkpoint could be written: {error}")
        else:
            self.parts.progress.say(f"wrote {checkpoint.path}; `wmrun resume` goes on from there")
