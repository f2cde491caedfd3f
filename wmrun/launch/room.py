"""Whether the servers that a run shares with others have room for all its sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wmrun.config.schema import Config, ServerConfig
from wmrun.envs.placement import placements
from wmrun.envs.room import free_sessions
from wmrun.envs.spec import EnvSpec
from wmrun.launch.evaluation import find_image
from wmrun.launch.parts import eval_slots


def missing_room(config: Config, spec: EnvSpec) -> Iterator[str]:
    """Yield a warning for each server at an address that is too full for what is opened later.

    To be asked once the sessions to train are open; `spec` is theirs.
    """
    servers: dict[str, ServerConfig] = {}
    needed: Counter[str] = Counter()
    for server in _of_later_sessions(config, spec):
        if server.address is not None:
            servers[server.address] = server
            needed[server.address] += 1
    for address, server in servers.items():
        free = free_sessions(server)
        if free is not None and free < needed[address]:
            yield (
                f"the env server at {address} has room for {free} more sessions; this run opens "
                f"{needed[address]} there later, to evaluate and for videos, and does without "
                "those that find no room. Start the server with a higher --max-sessions, or set "
                "run.eval_every=0 or run.video=false"
            )


def _of_later_sessions(config: Config, spec: EnvSpec) -> Iterator[ServerConfig]:
    """Yield the server of each session that evaluations open."""
    if config.run.eval_every == 0:
        return
    slots = eval_slots(config, config.run.eval_episodes)
    for place in placements(config.env.with_slots(slots), "eval"):
        yield place.server
    if config.run.video and find_image(spec) is None:
        for place in placements(config.env.with_slots(1), "video"):
            yield place.server
