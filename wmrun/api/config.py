"""An experiment with one of the three Dreamers, as an object with attributes."""

from __future__ import annotations

import os
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from wmrun.api.attributes import ATTRIBUTES
from wmrun.api.experiment import TOTAL_STEPS, changes, differences, over, preset
from wmrun.api.values import place_of
from wmrun.config.dump import dump_mapping
from wmrun.config.extends import KEY, PRESETS
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError, ProblemLog
from wmrun.config.schema import Config
from wmrun.config.tree import Mapping, Place, Source, from_plain, merge, plain
from wmrun.config.validation import Validator
from wmrun.errors import ExitCode, UsageError, WmrunError
from wmrun.spelling import closest

Algorithm = Literal["dreamer_v1", "dreamer_v2", "dreamer_v3"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
_PLACE = Place(Source("DreamerConfig", ""), 1, 1)


class UnknownAttribute(WmrunError, AttributeError):
    """A `DreamerConfig` has no attribute of that name."""

    exit_code = ExitCode.CONFIG


class DreamerConfig:
    """A Dreamer, its environment and its training.

    An attribute that is not set has the value of the algorithm's preset, and reading it says which:
    `stoch_size` is 30 for dreamer_v1 and 32 for dreamer_v2. `del config.stoch_size` unsets it.

    Names and `algorithm` are checked when they are assigned, every other value by `resolve`, which
    `to_yaml` and `DreamerAgent` call: all problems come in one `ConfigError`.

    Steps are counted as everywhere in wmrun: env steps are simulator frames (`action_repeat`
    included), agent steps are decisions of the policy, updates are gradient steps.

    Args:
        algorithm: dreamer_v1, dreamer_v2 or dreamer_v3: the preset that everything starts from.
        name: what the experiment is called: the folder of its runs. Unset: algorithm and task.
        seed: seed of parameters, exploration, sampling and environments.
        device: auto, cpu, cuda or cuda:N.
        env_backend: the env family: gym, dmc, unity_mlagents, or another that the server offers.
        env: the task in that family, such as Pendulum-v1 or walker-walk. Must be set, except for
            unity_mlagents, where it is the name of the player.
        unity_file_name: Unity's player, for unity_mlagents; None connects to the Editor.
        num_envs: environments that are stepped together.
        action_repeat: simulator frames per agent step.
        time_limit: env steps after which an episode is cut off; None: the task's own limit.
        image_size: rendered frames as an observation, as `64` or `(height, width)`; None: none.
        vector_obs: whether the task's own observations are used; None: unless there is an image.
        total_steps: env steps to train for.
        prefill: agent steps before the first update.
        train_ratio: replayed steps per agent step.
        batch_size: sequences per batch.
        batch_length: agent steps per sequence.
        eval_every: env steps between evaluations; 0: never.
        eval_episodes: episodes per evaluation.
        video: whether each evaluation leaves a video.
        mlflow: whether MLflow is sent what `metrics.jsonl` has.
        tracking_uri: the MLflow tracking store; None: sqlite:///mlflow.db in the working directory.
        size: the published size of dreamer_v3, 1m to 400m, which sets every width that is not set.
        discrete_latents: categorical latents (V2, V3) instead of Gaussian ones (V1).
        layer_norm: layer norm in the GRU, as V2 has it.
        cnn_residual: ReLU convolutions with residual connections as encoder and decoder of images.
        discount_model: whether a head learns where episodes end; dreamer_v3 always has one.
        critic: mse or two_hot: what the critic's loss is.
        actor_grad: dynamics, reinforce (with the critic as baseline), mix of both; auto (V2, V3)
            follows the action space.
        kl_balancing: whether the KL loss trains the prior more than the posterior. True is the
            published share, 0.8 for V1 and V2; a number is another one.
        kl_loss_coeff: weight of the KL loss; of dreamer_v3's two losses together.
        stoch_size: numbers of a Gaussian latent, groups of a categorical one.
        stoch_classes: classes of each group; None for Gaussian latents.
        deter_size: size of the deterministic state; for V1 and V2 also of the layer before it.
        embed_size: size of the embedding of an image. It follows from the depth of the encoder, 32
            for each channel of V1's and V2's at 64x64 pixels, and sets it, so that it must be a
            multiple. Without `image_size`, a value other than the default is the width of the MLP
            that embeds vectors.
        imagine_horizon: imagined steps.
        discount: discount per agent step.
        td_lambda: mixes one-step (0) and long (1) returns.
        overrides: everything else: `["agent.kl_free=1.0", ...]` as on the command line, or nested
            dicts as in a file. They win over attributes.

    Raises:
        UnknownAttribute: no such attribute; an `AttributeError` too.
    """

    algorithm: Algorithm
    name: str | None
    seed: int
    device: str
    env_backend: str
    env: str | None
    unity_file_name: str | os.PathLike[str] | None
    num_envs: int
    action_repeat: int
    time_limit: int | None
    image_size: int | tuple[int, int] | None
    vector_obs: bool | None
    total_steps: int
    prefill: int
    train_ratio: float
    batch_size: int
    batch_length: int
    eval_every: int
    eval_episodes: int
    video: bool
    mlflow: bool
    tracking_uri: str | None
    size: str | None
    discrete_latents: bool
    layer_norm: bool
    cnn_residual: bool
    discount_model: bool
    critic: str | None
    actor_grad: str
    kl_balancing: bool | float
    kl_loss_coeff: float
    stoch_size: int
    stoch_classes: int | None
    deter_size: int
    embed_size: int | None
    imagine_horizon: int
    discount: float
    td_lambda: float
    overrides: list[str] | dict[str, Any]

    def __init__(self, **attributes: Any) -> None:
        self.algorithm = "dreamer_v1"
        self.overrides = []
        for name, value in attributes.items():
            setattr(self, name, value)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> DreamerConfig:
        """Return the experiment of any file that `wmrun run` takes.

        What has no attribute goes to `overrides`, so that it resolves to the same. Raises
        `ConfigError` as `wmrun validate` does, and `UsageError` for another agent.
        """
        target = load_config(path)
        config = cls(algorithm=_algorithm(target, Path(path)), env=target.env.task)
        tree = from_plain(target.model_dump(mode="json"), _PLACE)
        assert isinstance(tree, Mapping)
        for name, attribute in ATTRIBUTES.items():
            value = attribute.read(tree)
            if (value is not None or attribute.nullable) and value != getattr(config, name):
                setattr(config, name, value)
        config.overrides = config._left_over(target) or []
        assert config.resolve() == target
        return config

    def to_yaml(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the experiment as a file for `wmrun run`, and write it where a path is given.

        It names the preset and what differs from it. Raises `ConfigError`.
        """
        resolved = self.resolve()
        values = plain(self._changes(ProblemLog()))
        if "env" in values:
            _make_absolute(values["env"], resolved.env.model_dump(mode="json"))
        ordered = {key: values[key] for key in Config.model_fields if key in values}
        text = dump_mapping({KEY: self.algorithm, **ordered})
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def resolve(self) -> Config:
        """Return the experiment with every default filled in, as `wmrun run` has it.

        Raises `ConfigError` with every problem found, each at its attribute.
        """
        log = ProblemLog()
        tree = merge(preset(self.algorithm), self._changes(log))
        assert isinstance(tree, Mapping)
        config = Validator(log, top=_PLACE).config(tree)
        if config is None or len(log):
            raise ConfigError("DreamerConfig", log.sorted())
        config._source = (PRESETS / f"{self.algorithm}.yaml",)
        return config

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same experiment, in whatever way it was written."""
        if not isinstance(other, DreamerConfig):
            return NotImplemented
        if vars(self) == vars(other):
            return True
        try:
            return self.resolve() == other.resolve()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in vars(self).items() if value != []]
        return f"DreamerConfig({', '.join(settings)})"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_NAMES})

    # Unknown to type checkers, which then find misspelt attributes by the annotations above.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ATTRIBUTES:
                raise _unknown(name)
            tree = over(self.algorithm, self._changes(ProblemLog()))
            return ATTRIBUTES[name].read(tree)

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in _NAMES:
                raise _unknown(name)
            if name == "algorithm" and value not in ALGORITHMS:
                raise _no_algorithm(value)
            object.__setattr__(self, name, value)

    def _changes(self, log: ProblemLog) -> Mapping:
        return changes(self.algorithm, vars(self), log)

    def _left_over(self, target: Config) -> dict[str, Any]:
        """Return what of a resolved experiment the attributes do not say."""
        # Long enough for any prefill, whose own value may be among what is left over.
        steps = max(TOTAL_STEPS, target.run.env_steps) * 1_000
        base = type(self)(**{**vars(self), "total_steps": steps, "overrides": []}).resolve()
        found = differences(target.model_dump(mode="json"), base.model_dump(mode="json"))
        found["run"].pop("env_steps")
        return {key: value for key, value in found.items() if value != {}}


_NAMES: AnyMapping[str, Any] = DreamerConfig.__annotations__


def _make_absolute(env: dict[str, Any], resolved: dict[str, Any]) -> None:
    """Take the paths of `env` from the resolved one: a file takes them as relative to itself."""
    for section, values in ((env, resolved), (env.get("server", {}), resolved["server"])):
        section |= {key: values[key] for key in _PATHS if key in section}
    if "servers" in env:
        env["servers"] = resolved["servers"]


_PATHS = ("source", "python", "token_file", "tls_ca", "tls_cert", "tls_key")


def _unknown(name: str) -> UnknownAttribute:
    near = closest(name, _NAMES)
    guess = f"; did you mean {near!r}?" if near else ""
    return UnknownAttribute(
        f"DreamerConfig has no attribute {name!r}{guess}",
        hint="Its attributes are in help(DreamerConfig); any other key of an experiment goes into "
        'overrides, such as overrides = ["agent.kl_free=1.0"].',
    )


def _no_algorithm(value: Any) -> ConfigError:
    log = ProblemLog()
    log.add(
        place_of("algorithm", value, 1),
        "",
        f"no algorithm is called {value!r}",
        expected=f"one of {', '.join(ALGORITHMS)}",
        suggestion=closest(value, ALGORITHMS) if isinstance(value, str) else None,
    )
    return ConfigError("DreamerConfig", log.sorted())


def _algorithm(config: Config, path: Path) -> Algorithm:
    name = config.agent["type"]
    if name not in ALGORITHMS:
        raise UsageError(
            f"{path}: agent.type is {name!r}, but a DreamerConfig has {', '.join(ALGORITHMS)}",
            hint=f"Run it with `wmrun run {path}`.",
        )
    return name
