"""Building the parts of a run from its config: the one place where names become things."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from wmrun import registry
from wmrun.agents.acceleration import Acceleration
from wmrun.agents.base import Agent
from wmrun.config.schema import DEFAULT_TRACKING_URI, Config, DeviceConfig, EnvConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool
from wmrun.envs.request import Role
from wmrun.envs.spec import EnvSpec
from wmrun.errors import UsageError
from wmrun.replay.disk import check_disk
from wmrun.replay.episodes import EpisodeWindows
from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.rows import RowSpec, row_spec
from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import OnlineWindows, UniformWindows, WindowSource
from wmrun.run.directory import RunDirectory
from wmrun.run.seeding import seed_for, seed_global_generators
from wmrun.run.tracker import Tracker
from wmrun.tracking.fanout import FanoutTracker


def choose_device(wanted: str) -> torch.device:
    """Return the device to train on. Raises `UsageError` for a CUDA device that is absent."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {wanted!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices",
            hint="Set device=auto or device=cpu, or install a torch build for your GPU's driver.",
        )
    return device


@dataclass(frozen=True)
class OpenEnvs:
    """Environments of one role that are ready to be reset."""

    spec: EnvSpec
    driver: Driver
    save: Callable[[], dict[str, int]]
    """Returns the pool's state for a checkpoint."""


@contextmanager
def open_envs(
    config: Config,
    run: RunDirectory,
    *,
    role: Role,
    env: EnvConfig | None = None,
    pool_state: dict[str, int] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[OpenEnvs]:
    """Start or reach the env server and open a session of its own for `role`.

    `pool_state`, from a checkpoint, keeps a resumed run from using environment seeds twice. Waits
    for servers end with `EnvStopped` once `should_stop()` is true.
    """
    pool = EnvPool(
        env or config.env,
        log_dir=run.env_logs,
        seed=config.seed,
        role=role,
        client_id=run.run_id,
        run_name=f"{config.name}/{run.run_id}",
        should_stop=should_stop,
    )
    if pool_state is not None:
        pool.load(pool_state)
    with pool:
        adapter = ActionAdapter(pool.spec.act_space, clip=config.env.clip_actions)
        yield OpenEnvs(pool.spec, Driver(pool, adapter), pool.save)


def eval_slots(config: Config, episodes: int) -> int:
    """Return how many env slots play `episodes` episodes of an evaluation."""
    return min(episodes, config.run.eval_envs or config.env.num_envs)


def build_agent(config: Config, spec: EnvSpec, device: torch.device) -> Agent:
    """Build the agent with freshly seeded generators, so that one seed gives one initialisation."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    seed_global_generators(config.seed)
    agent: Agent = registry.build(
        "agent", config.agent, spec.obs_space, spec.act_space, device=device
    )
    agent.accelerate(choose_acceleration(config.device, device))
    return agent


def choose_acceleration(wanted: DeviceConfig, device: torch.device) -> Acceleration:
    """Decide what is "auto"; on a CPU, bfloat16 is slow and compiling takes minutes."""
    cuda = device.type == "cuda"
    return Acceleration(
        compiled=wanted.compile == "always" or (wanted.compile == "auto" and cuda),
        may_fall_back=wanted.compile == "auto",
        bfloat16=wanted.precision == "bfloat16"
        or (wanted.precision == "auto" and cuda and torch.cuda.is_bf16_supported()),
    )


def replay_rows(envs: OpenEnvs) -> RowSpec:
    """Return shape and dtype of everything that one replay row holds."""
    obs = {key: (tuple(leaf.shape), leaf.dtype) for key, leaf in envs.spec.obs_space.items()}
    return row_spec(obs, envs.driver.adapter.size)


@dataclass(frozen=True)
class ReplaySize:
    """How many steps of a replay a run fills, and the bytes they take on disk."""

    steps: int
    spare_steps: int
    """Kept beyond the capacity, so that a resumed run has every row that its checkpoint had."""
    bytes_needed: int


def replay_size(config: Config, rows: RowSpec, agent: Agent) -> ReplaySize:
    """Return the size at the end of the run, or at full capacity if that is less.

    Every episode adds one row for its reset, so a run stores at most twice its agent steps.
    """
    repeat = config.env.action_repeat
    steps = min(config.replay.capacity, 2 * config.run.env_steps // repeat)
    full = steps == config.replay.capacity
    spare = config.run.checkpoint_every // repeat
    needed = Replay.projected_bytes(
        rows,
        max(steps, 1),
        num_envs=config.env.num_envs,
        spare=spare if full else 0,
        entries=agent.replay_entries,
    )
    return ReplaySize(steps, spare, needed)


def build_replay(config: Config, rows: RowSpec, agent: Agent, run: RunDirectory) -> Replay:
    """Open the replay of a run, after making sure that the run will fit on the disk."""
    size = replay_size(config, rows, agent)
    check_disk(run.replay, size.bytes_needed, size.steps)
    return Replay(
        run.replay,
        rows,
        capacity=config.replay.capacity,
        num_envs=config.env.num_envs,
        spare=size.spare_steps,
        entries=agent.replay_entries,
    )


def build_sampler(
    config: Config, replay: Replay, agent: Agent, *, longest_episode: int | None = None
) -> Sampler:
    """Return what draws the agent's batches, as `config.replay` says.

    `longest_episode` is in agent steps, where it is known.

    Raises `ReplayTooShort` when neither the replay nor an episode can ever hold a sequence.
    """
    settings = config.replay
    longest = longest_episode
    if settings.sampler == "episodes" and longest and longest < settings.batch_length:
        raise ReplayTooShort(
            f"replay.batch_length is {settings.batch_length}, but the episodes of "
            f"{config.env.task} end after {longest} agent steps at the latest, and "
            "replay.sampler is episodes: no sequence could ever be drawn",
            hint=f"Set replay.batch_length to at most {longest}, or replay.sampler: windows, whose "
            "sequences cross episodes.",
        )
    window = agent.replay_context + settings.batch_length
    source: WindowSource = UniformWindows(replay, window)
    if settings.sampler == "episodes":
        source = EpisodeWindows(
            replay,
            window,
            min_steps=settings.batch_length,
            prioritize_ends=settings.prioritize_ends,
        )
    return Sampler(
        replay,
        source,
        batch_size=settings.batch_size,
        seed=seed_for(config.seed, "sampler"),
        context=agent.replay_context,
        online=OnlineWindows(replay, window) if settings.online else None,
    )


def build_tracker(config: Config) -> Tracker:
    """Return metrics.jsonl, MLflow unless it is turned off, and further trackers as one."""
    trackers: list[Tracker] = [registry.build("tracker", {"type": "jsonl"})]
    if config.tracking.mlflow:
        uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_TRACKING_URI)
        trackers.append(
            registry.build(
                "tracker",
                {"type": "mlflow", "uri": uri, "flush_every_s": config.tracking.flush_every_s},
            )
        )
    trackers += [registry.build("tracker", spec) for spec in config.tracking.trackers]
    return FanoutTracker(trackers)
