"""What a run says of itself before it trains."""

from __future__ import annotations

import torch
from wmrun_envserver.wire import spaces

from wmrun.agents.base import Agent
from wmrun.config.schema import Config, EnvConfig
from wmrun.envs.placement import placements
from wmrun.launch.parts import OpenEnvs, replay_size
from wmrun.nn.observations import describe_space
from wmrun.replay.disk import format_bytes, free_bytes
from wmrun.replay.rows import RowSpec
from wmrun.run.directory import RunDirectory


def describe_run(
    config: Config,
    run: RunDirectory,
    envs: OpenEnvs,
    agent: Agent,
    rows: RowSpec,
    device: torch.device,
) -> list[str]:
    """Return lines that name run, device, environments, agent, replay and schedule."""
    facts = {
        "run": str(run.path),
        "device": _device(device),
        "env": _env(config, envs),
        "obs": ", ".join(f"{key} {_leaf(leaf)}" for key, leaf in envs.spec.obs_space.items()),
        "action": _leaf(envs.spec.act_space),
        "agent": _agent(config, agent),
        "replay": _replay(config, rows, agent, run),
        "training": _schedule(config),
    }
    return [f"{name:<9}{text}" for name, text in facts.items()]


def _device(device: torch.device) -> str:
    build = f"torch {torch.__version__}"
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)}), {build}"
    unused = "; a CUDA device is present but not used" if torch.cuda.is_available() else ""
    return f"{device}, {torch.get_num_threads()} threads, {build}{unused}"


def _env(config: Config, envs: OpenEnvs) -> str:
    env = config.env
    text = f"{env.backend} {env.task}, {env.num_envs} slots, action repeat {env.action_repeat}"
    if envs.spec.renderer:
        text += f", rendered by {envs.spec.renderer}"
    if env.servers or env.server.address:
        text += f"; {_servers(env)}"
    return text


def _servers(env: EnvConfig) -> str:
    """Return where slots are, as in `2 on this Python, 4 at simulators-1:5000`."""
    parts = []
    for place in placements(env, "train"):
        server = place.server
        where = f"at {server.address}" if server.address else f"on {server.python or 'this Python'}"
        parts.append(f"{len(place.slots)} {where}")
    return ", ".join(parts)


def _leaf(space: spaces.Space) -> str:
    if isinstance(space, spaces.Discrete):
        return f"discrete, {space.n} choices"
    if isinstance(space, spaces.Box):
        return f"{space.dtype} {list(space.shape)}"
    return describe_space(space)


def _agent(config: Config, agent: Agent) -> str:
    counts = agent.parameter_counts()
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{config.agent['type']}, {sum(counts.values()):,} parameters ({parts})"


def _replay(config: Config, rows: RowSpec, agent: Agent, run: RunDirectory) -> str:
    needed = replay_size(config, rows, agent).bytes_needed
    return (
        f"capacity {config.replay.capacity:,} steps, {_sequences(config)}; this run needs up "
        f"to {format_bytes(needed)} on disk, {format_bytes(free_bytes(run.replay))} are free"
    )


def _sequences(config: Config) -> str:
    drawn = f"sampled by {config.replay.sampler}"
    drawn += ", ends more often" if config.replay.prioritize_ends else ""
    return drawn + (", new sequences first" if config.replay.online else "")


def _schedule(config: Config) -> str:
    replay, settings = config.replay, config.run
    rows = replay.batch_size * replay.batch_length
    trained_steps = max(0, settings.env_steps // config.env.action_repeat - settings.prefill)
    updates = settings.pretrain + round(trained_steps * settings.train_ratio / rows)
    return (
        f"{settings.env_steps:,} env steps, about {updates:,} updates of "
        f"{replay.batch_size} x {replay.batch_length} rows (train ratio {settings.train_ratio:g} "
        "replayed steps per agent step)"
    )
