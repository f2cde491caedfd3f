"""The settings of environments and of the servers that step them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from wmrun_envserver.wire.address import ADDRESS_PATTERN, ADDRESS_WORDS

from wmrun.config.schema.section import (
    Count,
    CountOrZero,
    Form,
    Located,
    NullRemoves,
    Seconds,
    Section,
    conflict,
)
from wmrun.config.shares import fill_shares, spread

PROGRAM = Located(r".*/")
"""A name without `/` is looked up in PATH."""
SOURCE = Located(r"[^:]*(/|\.(x86_64|x86|app|exe)$)")
"""`module:factory` and `HOST:PORT/WORLD` are no paths; a file that Unity builds always is one."""
FILE = Located(r".")
ADDRESS = Form(ADDRESS_PATTERN, ADDRESS_WORDS)


class ImageConfig(Section):
    """Rendered frames as an observation, under the key `image`."""

    size: Annotated[tuple[Count, Count], Field(strict=False)] = (64, 64)
    """Height and width in pixels."""
    camera: int | str | None = None
    """The camera's number or name in the simulator; null: the family's default."""
    grayscale: bool = False
    """One channel instead of three."""


class RestartsConfig(Section):
    """How often a lost env server is started again before the run gives up.

    A server started here restarts each of its simulators `per_window` times, too.
    """

    max: CountOrZero = 10
    """Restarts of the server in all."""
    per_window: CountOrZero = 3
    """Restarts within any `window_s`: of the server, and of the simulator of each slot."""
    window_s: Seconds = 300.0
    """Seconds."""


class ServerConfig(Section):
    """The process that steps the environments: started here, or reached at an address."""

    python: Annotated[str, PROGRAM] | None = None
    """The Python interpreter that has the env family installed; null: the learner's own.

    A path is relative to the file that sets it.
    """
    address: Annotated[str, ADDRESS] | None = None
    """A server that is already running, as `host:port` or `unix:/path`; null: start one."""
    workers: Literal["auto"] | CountOrZero = "auto"
    """Processes over which a server started here spreads its slots; 0: its own process alone.

    auto: one per simulator where the env family is prone to crashes, else 0.
    """
    token_file: Annotated[str, FILE] | None = None
    """The file with the token that the server at `address` asks for."""
    tls_ca: Annotated[str, FILE] | None = None
    """Certificates, in a PEM file, of which one must have signed that of the server at `address`.

    Setting it turns TLS on.
    """
    tls_cert: Annotated[str, FILE] | None = None
    """Our own certificate for the server at `address`, in a PEM file."""
    tls_key: Annotated[str, FILE] | None = None
    """The private key of `tls_cert`, in a PEM file."""
    start_timeout_s: Seconds = 60.0
    """Seconds that a server may take from its start, or from being dialled, to its first answer."""
    reset_timeout_s: Seconds = 60.0
    """Seconds that one reset of all slots may take."""
    step_timeout_s: Seconds = 60.0
    """Seconds that one step of all slots may take."""
    restarts: RestartsConfig = RestartsConfig()
    """How often a lost server is started again."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> ServerConfig:
        if self.python is not None and self.address is not None:
            raise conflict("address", "excludes python: a server is either reached or started")
        if self.workers != "auto" and self.address is not None:
            raise conflict(
                "workers", "is for servers started here: give --workers to the one at the address"
            )
        return self

    @model_validator(mode="after")
    def _has_credentials_where_they_are_used(self) -> ServerConfig:
        for key in ("token_file", "tls_ca", "tls_cert", "tls_key"):
            if getattr(self, key) is not None and self.address is None:
                raise conflict(key, "is for a server at an address: set address beside it")
        for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
            if getattr(self, key) is not None and getattr(self, other) is None:
                raise conflict(key, f"needs {other} beside it")
        if self.tls_cert is not None and self.tls_ca is None:
            raise conflict("tls_cert", "needs tls_ca beside it, which turns TLS on")
        return self


class ServerShareConfig(ServerConfig):
    """One of several servers, and its share of the env slots."""

    num_envs: Count | None = None
    """Env slots of this server; null: an equal part of what the others leave."""


class EnvConfig(Section):
    """The environments, and the server that steps them."""

    backend: str = "gym"
    """The env family, by its name in the server's Python: gym, dmc, …"""
    task: str
    """The task's name in its family, such as CartPole-v1 or walker-walk."""
    source: Annotated[str, SOURCE] | None = None
    """What `task` stands for where the family does not know it; null: nothing, the family does.

    gym: `module:factory`, imported by the server. unity_mlagents: the path of a player, with a `/`
    or its suffix, relative to the file that sets it. dm_env_rpc: `HOST:PORT[/WORLD]`.
    """
    num_envs: Count = 1
    """Env slots that are stepped together."""
    action_repeat: Count = 1
    """Simulator frames per agent step; rewards are summed."""
    time_limit: Count | None = None
    """Env steps after which an episode is cut off (truncated); null: the task's own limit."""
    image: ImageConfig | None = None
    """Rendered frames as an observation; null: none."""
    vector: bool | None = None
    """Whether the task's own observations are used; null: unless there is an image."""
    normalize_actions: bool = True
    """Offer bounded actions as [-1, 1] and rescale them in the server."""
    clip_actions: bool = True
    """Clip actions to their bounds; otherwise one outside is an error."""
    options: Annotated[dict[str, Any], NullRemoves()] = Field(default={})
    """Options of the env family, checked by the server; null: as if it were not set."""
    server: ServerConfig = ServerConfig()
    """The process that steps the environments."""
    servers: list[ServerShareConfig] = Field(default=[])
    """Several such processes in place of `server`; shares add up to `num_envs`; []: none."""

    @model_validator(mode="after")
    def _has_servers_that_add_up(self) -> EnvConfig:
        if self.servers and self.server != ServerConfig():
            raise conflict("servers", "excludes server: make it one of the servers")
        if self.servers:
            try:
                fill_shares(self.num_envs, [server.num_envs for server in self.servers])
            except ValueError as error:
                raise conflict("servers", f"{error}; num_envs is {self.num_envs}") from None
        return self

    @model_validator(mode="after")
    def _has_a_server_for_its_source(self) -> EnvConfig:
        servers: Sequence[ServerConfig] = self.servers or [self.server]
        if self.source is not None and all(server.address is not None for server in servers):
            raise conflict(
                "source",
                "is for servers started here: start the one at the address with "
                f"--env {self.task}={self.source}",
            )
        return self

    @model_validator(mode="after")
    def _has_no_misplaced_option(self) -> EnvConfig:
        misplaced = [key for key in self.options if key in type(self).model_fields]
        if misplaced:
            key = misplaced[0]
            raise conflict(f"options.{key}", f"belongs one level up: write it as env.{key}")
        return self

    def with_slots(self, num_envs: int) -> EnvConfig:
        """Return the config with so many slots, spread over the servers in proportion.

        Servers that are left without any have a share of 0.
        """
        servers = []
        if self.servers:
            given = fill_shares(self.num_envs, [server.num_envs for server in self.servers])
            servers = [
                server.model_copy(update={"num_envs": share})
                for server, share in zip(self.servers, spread(num_envs, given), strict=True)
            ]
        return self.model_copy(update={"num_envs": num_envs, "servers": servers})
