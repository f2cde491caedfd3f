"""The settings of an experiment: every key, its type, unit, range and default.

Steps are counted three ways, and every key says which: env steps (simulator frames, action repeat
included), agent steps (policy decisions), updates (gradient steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from wmrun.config.shares import fill_shares, spread
from wmrun.registry.annotations import nested

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Seconds = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Form:
    """The pattern of a string, and the words for it in messages."""

    pattern: str
    words: str
    examples: tuple[str, ...] = ()
    """Values to suggest to those who come close."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.str_schema(pattern=self.pattern)


@dataclass(frozen=True)
class Located:
    """Marks a string that is a path where `pattern` matches, relative to the file that sets it."""

    pattern: str


PROGRAM = Located(r".*/")
"""A name without `/` is looked up in PATH."""
SOURCE = Located(r"[^:]*(/|\.(x86_64|x86|app|exe)$)")
"""`module:factory` and `HOST:PORT/WORLD` are no paths; a file that Unity builds always is one."""
FILE = Located(r".")


@dataclass(frozen=True)
class NullRemoves:
    """Marks a mapping of anything from which null takes the entry that a base has set."""


class Section(BaseModel):
    """A mapping of an experiment file: frozen, typed strictly, without room for unknown keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


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
    address: str | None = None
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
    options: Annotated[dict[str, Any], NullRemoves()] = {}
    """Options of the env family, checked by the server; null: as if it were not set."""
    server: ServerConfig = ServerConfig()
    """The process that steps the environments."""
    servers: list[ServerShareConfig] = []
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
    trackers: list[nested("tracker")] = []  # type: ignore[valid-type]
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


def conflict(key: str, message: str) -> PydanticCustomError:
    """Return the error of a section in which the value of `key` is at odds with another."""
    return PydanticCustomError("conflict", "{message}", {"key": key, "message": message})
