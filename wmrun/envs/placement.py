"""Which server steps which slots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wmrun.config.schema import EnvConfig, ServerConfig
from wmrun.config.shares import fill_shares
from wmrun.errors import EnvError

_ONLY_SERVER = "env.server"


@dataclass(frozen=True)
class Placement:
    """One server of a role and the slots that it has."""

    key: str
    """The server's place in the experiment: `env.server` or `env.servers[1]`."""
    label: str
    """The role, with the number of the server where there are several: `train`, `train-1`."""
    server: ServerConfig
    slots: range

    def __str__(self) -> str:
        where = self.server.address or self.server.python
        return f"{self.key} ({where})" if where else self.key

    @property
    def server_name(self) -> str:
        """What the server is called in a sentence, if it was not started here: by its address."""
        address = self.server.address
        return "the env server" if address is None else f"the env server at {address}"


def placements(config: EnvConfig, role: str) -> list[Placement]:
    """Return the servers in order, with consecutive slots; those without any are left out."""
    if not config.servers:
        return [Placement(_ONLY_SERVER, role, config.server, range(config.num_envs))]
    shares = fill_shares(config.num_envs, [server.num_envs for server in config.servers])
    found, first = [], 0
    for index, (server, share) in enumerate(zip(config.servers, shares, strict=True)):
        if share:
            slots = range(first, first + share)
            found.append(Placement(f"env.servers[{index}]", f"{role}-{index}", server, slots))
            first += share
    return found


@contextmanager
def errors_name(key: str) -> Iterator[None]:
    """Let errors that speak of keys of `env.server` speak of those of one of several servers."""
    try:
        yield
    except EnvError as error:
        error.message = error.message.replace(f"{_ONLY_SERVER}.", f"{key}.")
        error.hint = error.hint and error.hint.replace(f"{_ONLY_SERVER}.", f"{key}.")
        raise
