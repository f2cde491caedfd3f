"""What each attribute of a `DreamerConfig` is in an experiment file.

Attributes are read from and written into the tree of an experiment. Many are one key of it.
Switches exchange a component, and what a number belongs to depends on the component: `stoch_size`
is the `size` of a Gaussian latent and the `groups` of a categorical one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wmrun.agents.sizes import WIDTHS
from wmrun.api.values import Unfit
from wmrun.config.tree import Mapping, plain

Change = dict[str, Any]
"""Values by dotted key."""


@dataclass(frozen=True)
class Attribute:
    """One setting of a `DreamerConfig`."""

    read: Callable[[Mapping], Any]
    """Returns the setting that an experiment has, or None where it has none."""
    write: Callable[[Any, Mapping], Change]
    """Returns what a setting changes in an experiment. Raises `Unfit`."""
    nullable: bool = False
    """Whether None is a setting."""


def at(tree: Mapping, path: str) -> Any:
    """Return what stands at a dotted key, or None where nothing does."""
    node: Any = tree
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node.entries:
            return None
        node = node.entries[key].value
    return plain(node)


def _key(path: str, *, nullable: bool = False) -> Attribute:
    """Return the attribute that is one key of the experiment."""
    return Attribute(lambda tree: at(tree, path), lambda value, _: {path: value}, nullable)


def _switch(read: Callable[[Mapping], bool], write: Callable[[bool, Mapping], Change]) -> Attribute:
    """Return an attribute that is True or False."""

    def checked(value: Any, tree: Mapping) -> Change:
        if not isinstance(value, bool):
            raise Unfit(f"{value!r} is not a switch", "True or False")
        return write(value, tree)

    return Attribute(read, checked)


def _is_v3(tree: Mapping) -> bool:
    return at(tree, "agent.type") == "dreamer_v3"


def _width(tree: Mapping, path: str) -> Any:
    """Return a width, which `agent.size` sets where it is null."""
    value, size = at(tree, path), at(tree, "agent.size")
    return WIDTHS[size].get(path.rpartition(".")[2]) if value is None and size in WIDTHS else value


def _read_image_size(tree: Mapping) -> tuple[int, ...] | None:
    size = at(tree, "env.image.size")
    return tuple(size) if isinstance(size, list) else size


def _write_image_size(value: Any, _: Mapping) -> Change:
    if value is None:
        return {"env.image": None}
    square = isinstance(value, int) and not isinstance(value, bool)
    return {"env.image.size": [value, value] if square else value}


def _write_size(value: Any, tree: Mapping) -> Change:
    if value is not None and not _is_v3(tree):
        raise Unfit(
            f"{at(tree, 'agent.type')} has no published sizes", 'algorithm = "dreamer_v3" beside it'
        )
    return {"agent.size": value}


def _write_unity_file(value: Any, tree: Mapping) -> Change:
    backend = at(tree, "env.backend")
    if backend != "unity_mlagents":
        raise Unfit(
            f"means nothing to env_backend {backend!r}", 'env_backend = "unity_mlagents" beside it'
        )
    if value is not None and "/" not in str(value):
        value = f"./{value}"  # in a file only what has a `/` is a path
    return {"env.source": value}


def _read_discrete_latents(tree: Mapping) -> bool:
    return at(tree, "agent.latent.type") == "categorical"


def _write_discrete_latents(value: bool, _: Mapping) -> Change:
    if value:
        return {"agent.latent": {"type": "categorical", "groups": 32, "classes": 32}}
    return {"agent.latent": {"type": "gaussian", "size": 30}}


def _stoch_key(tree: Mapping) -> str:
    return "agent.latent.groups" if _read_discrete_latents(tree) else "agent.latent.size"


def _write_stoch_classes(value: Any, tree: Mapping) -> Change:
    if not _read_discrete_latents(tree):
        raise Unfit("Gaussian latents have no classes", "discrete_latents = True beside it")
    return {"agent.latent.classes": value}


def _read_layer_norm(tree: Mapping) -> bool:
    if _is_v3(tree):
        return at(tree, "agent.dynamics.norm") == "layer"
    return at(tree, "agent.dynamics.type") == "gru_layernorm"


def _write_layer_norm(value: bool, tree: Mapping) -> Change:
    if _is_v3(tree):
        return {"agent.dynamics.norm": "layer" if value else "rms"}
    cell = "gru_layernorm" if value else "gru"
    return {"agent.dynamics": {**at(tree, "agent.dynamics"), "type": cell}}


def _write_deter_size(value: Any, tree: Mapping) -> Change:
    change = {"agent.dynamics.deter": value}
    # V1 and V2 have one number for both; null makes the layer before the GRU as large as it.
    return change if _is_v3(tree) else {**change, "agent.dynamics.hidden": None}


def _write_cnn_residual(value: bool, _: Mapping) -> Change:
    if not value:
        return {}
    cnn = {"type": "cnn_residual", "depth": 32, "act": "relu", "norm": "none"}
    return {"agent.encoder.image": cnn, "agent.decoder.image": cnn}


_DEFAULT_SIDES = (64, 64)


def _embed_per_depth(tree: Mapping) -> int | None:
    """Return by how much the embedding of an image grows with the encoder's depth."""
    height, width = _read_image_size(tree) or _DEFAULT_SIDES
    match at(tree, "agent.encoder.image.type"):
        case "cnn":
            return 8 * _halved(height, 4) * _halved(width, 4)
        case "cnn_residual":
            stages = max(1, ((min(height, width) + 2) // 3).bit_length() - 1)
            return 2 ** (stages - 1) * _halved(height, stages) * _halved(width, stages)
        case "cnn_v3":
            return 4 * (height // 16) * (width // 16)
    return None


def _halved(side: int, layers: int) -> int:
    """Return what so many convolutions with kernel 4 and stride 2 leave of a side."""
    for _ in range(layers):
        side = (side - 4) // 2 + 1
    return side


_VECTOR_UNITS = {"dreamer_v1": 400, "dreamer_v2": 400, "dreamer_v3": None}
"""Units of the vector encoder in the presets."""


def _read_embed_size(tree: Mapping) -> int | None:
    units = at(tree, "agent.encoder.vector.units")
    if at(tree, "env.image") is None and units != _VECTOR_UNITS.get(at(tree, "agent.type")):
        return units
    depth, per_depth = _width(tree, "agent.encoder.image.depth"), _embed_per_depth(tree)
    return None if depth is None or per_depth is None else depth * per_depth


def _write_embed_size(value: Any, tree: Mapping) -> Change:
    if at(tree, "env.image") is None:
        return {"agent.encoder.vector.units": value}
    per_depth = _embed_per_depth(tree)
    if not isinstance(value, int) or isinstance(value, bool) or not per_depth:
        return {"agent.encoder.image.depth": value}
    depth, rest = divmod(value, per_depth)
    if rest or depth < 1:
        near = [per_depth * n for n in (depth, depth + 1) if n > 0]
        height, width = at(tree, "env.image.size")
        raise Unfit(
            f"the {at(tree, 'agent.encoder.image.type')} encoder cannot make an embedding of "
            f"{value} from {height}x{width} pixels",
            f"a multiple of {per_depth}, such as {' or '.join(map(str, near))}",
        )
    return {"agent.encoder.image.depth": depth, "agent.decoder.image.depth": depth}


_PUBLISHED_BALANCE = 0.8
"""Of Dreamer V2. Its 0.5 is a single KL, without balancing; V1's null is, too."""


def _read_kl_balancing(tree: Mapping) -> bool | float:
    if _is_v3(tree):
        return at(tree, "agent.dyn_scale") != at(tree, "agent.rep_scale")
    share = at(tree, "agent.kl_balance")
    if share in (None, _unbalanced(tree)):
        return False
    return True if share == _PUBLISHED_BALANCE else share


def _write_kl_balancing(value: Any, tree: Mapping) -> Change:
    if not _is_v3(tree):
        shares = {True: _PUBLISHED_BALANCE, False: _unbalanced(tree)}
        return {"agent.kl_balance": shares[value] if isinstance(value, bool) else value}
    if not isinstance(value, bool):
        raise Unfit(
            f"{value!r} is not a switch, and Dreamer V3 has two scales instead of a share",
            "True or False, or agent.dyn_scale and agent.rep_scale in overrides",
        )
    scale = at(tree, "agent.dyn_scale")
    return {"agent.rep_scale": 0.1 * scale if value else scale}


def _unbalanced(tree: Mapping) -> float | None:
    return None if at(tree, "agent.type") == "dreamer_v1" else 0.5


def _kl_key(tree: Mapping) -> str:
    return "agent.dyn_scale" if _is_v3(tree) else "agent.kl_scale"


def _write_kl_loss_coeff(value: Any, tree: Mapping) -> Change:
    change = {_kl_key(tree): value}
    if _is_v3(tree) and isinstance(value, (int, float)):
        ratio = at(tree, "agent.rep_scale") / at(tree, "agent.dyn_scale")
        change["agent.rep_scale"] = ratio * value
    return change


def _write_discount_model(value: bool, tree: Mapping) -> Change:
    # The published continue heads are as deep and wide as their critics.
    head = {**at(tree, "agent.critic_head"), "type": "bernoulli"}
    return {"agent.continue_head": head if value else None}


def _read_critic(tree: Mapping) -> str | None:
    critic = at(tree, "agent.critic_head.type")
    return critic if critic in ("mse", "two_hot") else None


def _write_critic(value: Any, tree: Mapping) -> Change:
    return {"agent.critic_head": {**at(tree, "agent.critic_head"), "type": value}}


ATTRIBUTES: dict[str, Attribute] = {
    "name": _key("name"),
    "seed": _key("seed"),
    "device": _key("device.name"),
    "env_backend": _key("env.backend"),
    "env": _key("env.task"),
    "unity_file_name": Attribute(
        lambda tree: (
            at(tree, "env.source") if at(tree, "env.backend") == "unity_mlagents" else None
        ),
        _write_unity_file,
        nullable=True,
    ),
    "num_envs": _key("env.num_envs"),
    "action_repeat": _key("env.action_repeat"),
    "time_limit": _key("env.time_limit", nullable=True),
    "image_size": Attribute(_read_image_size, _write_image_size, nullable=True),
    "vector_obs": _key("env.vector", nullable=True),
    "total_steps": _key("run.env_steps"),
    "prefill": _key("run.prefill"),
    "train_ratio": _key("run.train_ratio"),
    "batch_size": _key("replay.batch_size"),
    "batch_length": _key("replay.batch_length"),
    "eval_every": _key("run.eval_every"),
    "eval_episodes": _key("run.eval_episodes"),
    "video": _key("run.video"),
    "mlflow": _key("tracking.mlflow"),
    "tracking_uri": _key("tracking.uri", nullable=True),
    "size": Attribute(lambda tree: at(tree, "agent.size"), _write_size, nullable=True),
    # Switches come before the numbers of the components that they bring.
    "discrete_latents": _switch(_read_discrete_latents, _write_discrete_latents),
    "layer_norm": _switch(_read_layer_norm, _write_layer_norm),
    "cnn_residual": _switch(
        lambda tree: at(tree, "agent.encoder.image.type") == "cnn_residual", _write_cnn_residual
    ),
    "discount_model": _switch(
        lambda tree: at(tree, "agent.continue_head") is not None, _write_discount_model
    ),
    "critic": Attribute(_read_critic, _write_critic),
    "actor_grad": _key("agent.actor_grad"),
    "kl_balancing": Attribute(_read_kl_balancing, _write_kl_balancing),
    "kl_loss_coeff": Attribute(lambda tree: at(tree, _kl_key(tree)), _write_kl_loss_coeff),
    "stoch_size": Attribute(
        lambda tree: at(tree, _stoch_key(tree)), lambda value, tree: {_stoch_key(tree): value}
    ),
    "stoch_classes": Attribute(
        lambda tree: _width(tree, "agent.latent.classes") if _read_discrete_latents(tree) else None,
        _write_stoch_classes,
    ),
    "deter_size": Attribute(lambda tree: _width(tree, "agent.dynamics.deter"), _write_deter_size),
    "embed_size": Attribute(_read_embed_size, _write_embed_size),
    "imagine_horizon": _key("agent.imagine_horizon"),
    "discount": _key("agent.discount"),
    "td_lambda": _key("agent.return_lambda"),
}
"""In the order in which they are written, each on top of those before it."""
