"""The settings of a whole experiment, and of all in it but the environments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, PrivateAttr, model_validator

from wmrun.config.schema.env import EnvConfig
from wmrun.config.schema.section import Count, CountOrZero, Form, Seconds, Section, conflict
from wmrun.registry.annotations import nested

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"


class ReplayConfig(Section):
    """The store of experience and the batches drawn from it."""

    capacity: Count = 2_000_000
    """Agent steps kept on disk, over all slots; the oldest go first."""
    batch_size: Count = 16
    """Sequences per batch."""
    batch_length: Annotated[int, Ge(2)] = 50
    """Agent steps per sequence."""
    sampler: Literal["windows", "episodes"] = "windows"
    """Where sequences are drawn from.

    windows: any of an env slot's rows that follow each other, across episodes too; all equally
    likely (Dreamer V3). episodes: rows of one finished episode with at least batch_length agent
    steps; all such episodes equally likely (Dreamer V1 and V2).
    """
    prioritize_ends: bool = False
    """With sampler: episodes, draw the last sequence of an episode more often than the others."""
    online: bool = False
    """With sampler: windows, replay every new sequence once before older ones are drawn."""

    @model_validator(mode="after")
    def _holds_a_sequence(self) -> ReplayConfig:
        if self.capacity < self.batch_length:
            raise conflict("capacity", f"is less than batch_length, {self.batch_length}")
        return self

    @model_validator(mode="after")
    def _suits_the_sampler(self) -> ReplayConfig:
        if self.online and self.sampler == "episodes":
            raise conflict("online", "needs sampler: windows; it replays rows of open episodes")
        if self.prioritize_ends and self.sampler == "windows":
            raise conflict("prioritize_ends", "needs sampler: episodes; windows may cross ends")
        return self


class RunConfig(Section):
    """The length and rhythm of training."""

    env_steps: Count
    """Env steps to train for."""
    stop_at_return: float | None = None
    """Stop earlier, when the mean return of an evaluation reaches this; null: never."""
    prefill: CountOrZero = 1_000
    """Agent steps before the first update."""
    prefill_with: Literal["random", "policy"] = "random"
    """What acts during prefill: random actions, or the policy as it was initialised."""
    pretrain: CountOrZero = 100
    """Updates at the end of prefill, before the next action of the policy."""
    train_ratio: Annotated[float, Ge(0)] = 160.0
    """Replayed steps per agent step: an update replays batch_size x batch_length."""
    update_burst: Count = 1
    """Updates that are taken together: they wait until this many are due."""
    eval_every: CountOrZero = 20_000
    """Env steps between evaluations; 0: never."""
    eval_episodes: Count = 10
    """Episodes per evaluation."""
    eval_envs: Count | None = None
    """Env slots used for evaluation; null: as many as for training."""
    checkpoint_every: CountOrZero = 20_000
    """Env steps between checkpoints; 0: only at the end."""
    keep_checkpoints: Count = 2
    """Newest checkpoints kept."""
    log_every: CountOrZero = 1_000
    """Env steps between lines of metrics; 0: never."""
    video: bool = True
    """Write a video of one episode of each evaluation."""


class TrackingConfig(Section):
    """Where metrics, files and the run's status are sent."""

    experiment: str | None = None
    """The MLflow experiment that the run belongs to; null: the experiment's name."""
    uri: str | None = None
    """The MLflow tracking store; null: sqlite:///mlflow.db in the working directory."""
    mlflow: bool = True
    """Send to MLflow. metrics.jsonl is written always."""
    flush_every_s: Seconds = 5.0
    """Seconds between batches sent to MLflow."""
    trackers: list[nested("tracker")] = Field(default=[])  # type: ignore[valid-type]
    """Further trackers, each by its `type` and that type's options."""


class DeviceConfig(Section):
    """Where and how the agent computes."""

    name: Annotated[
        str,
        Form(r"^(auto|cpu|cuda(:[0-9]+)?)$", "auto, cpu, cuda or cuda:N", ("auto", "cpu", "cuda")),
    ] = "auto"
    """The device; auto: the first CUDA device, or the CPU where there is none."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Whether networks are compiled: auto does so on CUDA devices, and goes on without, saying so,
    where it fails."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What networks compute in; auto: bfloat16 on CUDA devices that have it, else float32.

    Parameters, latents, losses and returns are float32 always.
    """


class Config(Section):
    """A whole experiment, every default filled in."""

    name: Annotated[
        str,
        Form(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "a string of letters, digits, `.`, `_` and `-`"),
    ]
    """What the experiment is called: the folder of its runs."""
    seed: CountOrZero = 0
    """Seed of parameters, exploration, sampling and environments."""
    device: DeviceConfig = DeviceConfig()
    """Where and how the agent computes; a word alone is its name, as in `device: cpu`."""
    threads: Count | None = None
    """Threads of torch on the CPU; null: torch's own choice."""
    env: EnvConfig
    """The environments."""
    agent: nested("agent")  # type: ignore[valid-type]
    """The agent: its `type` and that type's options."""
    replay: ReplayConfig = ReplayConfig()
    """The store of experience."""
    run: RunConfig
    """The length and rhythm of training."""
    tracking: TrackingConfig = TrackingConfig()
    """Where metrics go."""

    _source: tuple[Path, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _learns(self) -> Config:
        run, repeat = self.run, self.env.action_repeat
        agent_steps = -(-run.env_steps // repeat)
        if agent_steps <= run.prefill and (run.train_ratio > 0 or run.pretrain > 0):
            raise conflict(
                "run.prefill",
                f"prefill counts agent steps: the first update would follow {run.prefill}, "
                f"the run has only {agent_steps} agent steps "
                f"(env_steps {run.env_steps} / action_repeat {repeat})",
            )
        return self

    @model_validator(mode="after")
    def _holds_a_sequence_per_slot(self) -> Config:
        replay, slots = self.replay, self.env.num_envs
        if replay.capacity // slots < replay.batch_length:
            raise conflict(
                "replay.capacity",
                f"leaves each of {slots} env slots {replay.capacity // slots} steps, less than "
                f"replay.batch_length, {replay.batch_length}: set at least "
                f"{slots * replay.batch_length}",
            )
        return self

    @property
    def source(self) -> tuple[Path, ...]:
        """The files that the configuration was read from: the experiment, then what it extends."""
        return self._source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.model_dump() == other.model_dump()
