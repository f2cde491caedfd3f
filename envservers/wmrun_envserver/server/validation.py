"""Requests checked in full before an environment is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from wmrun_envserver.backends.base import EnvTraits
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.status import Reason

_AUTORESETS = (messages.NEXT_STEP, messages.SAME_STEP, messages.DISABLED)
# What NumPy can index; far below it, a shape costs more to multiply than to refuse.
_MAX_DIMENSIONS = 32


def check_open(request: messages.OpenSessionRequest, limits: Limits) -> dict[str, Any]:
    """Return the env options of `request`; raises `Refused` naming the field that is wrong."""
    if request.autoreset not in _AUTORESETS:
        name = _enum_name(messages.Autoreset, request.autoreset)
        raise _bad(
            "autoreset", f"autoreset is {name}: this server offers NEXT_STEP, SAME_STEP, DISABLED"
        )
    if request.num_envs == 0:
        raise _bad("num_envs", "num_envs is 0: a session has at least one slot")
    if request.num_envs > limits.max_envs:
        raise Refused(
            Reason.TOO_LARGE,
            f"num_envs is {request.num_envs}: this server holds {limits.max_envs} slots "
            "(--max-envs)",
            field="num_envs",
        )
    if len(request.env_id) > limits.max_client_characters:
        raise Refused(Reason.ENV_UNKNOWN, "no env id is that long", field="env_id")
    if len(request.seeds) not in (0, request.num_envs):
        raise _bad("seeds", f"{len(request.seeds)} seeds for {request.num_envs} slots")
    if len(request.want_capabilities) > limits.max_wanted_capabilities:
        raise _bad(
            "want_capabilities",
            f"{len(request.want_capabilities)} capabilities wanted: "
            f"at most {limits.max_wanted_capabilities} are read",
        )
    for field in ("client_name", "client_id"):
        if len(getattr(request, field)) > limits.max_client_characters:
            raise _bad(field, f"{field} has over {limits.max_client_characters} characters")
    if request.supersede and not request.client_id:
        raise _bad("client_id", "supersede needs a client_id")
    return check_config(request.env_config_json, limits)


def check_traits(request: messages.OpenSessionRequest, traits: EnvTraits) -> None:
    """Raise `Refused` where `request` asks for what an environment of `traits` cannot do."""
    if request.seeds and traits.seed_scope == "none":
        raise Refused(
            Reason.SEED_SCOPE,
            f"{request.env_id} takes no seeds: nothing it draws can be repeated",
            field="seeds",
        )
    if request.render_mode and request.render_mode not in traits.render_modes:
        offered = ", ".join(traits.render_modes) or "none"
        raise _bad(
            "render_mode",
            f"render_mode is {request.render_mode[:64]!r}; {request.env_id} offers: {offered}",
        )
    size = traits.slots_per_simulator
    if size is not None and request.num_envs % size:
        raise _bad(
            "num_envs",
            f"num_envs is {request.num_envs}: a simulator of {request.env_id} holds {size} slots, "
            f"so num_envs must be a multiple of {size}",
        )


def check_config(text: str, limits: Limits) -> dict[str, Any]:
    """Return the JSON object in `text`, {} where that is empty; raises `Refused` for the rest."""
    if not text:
        return {}
    size = len(text.encode())
    if size > limits.max_config_bytes:
        raise _bad_config(
            f"env_config_json has {size} bytes, at most {limits.max_config_bytes} are read"
        )
    try:
        config = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise _bad_config("env_config_json is nested too deeply") from None
    except ValueError as error:
        raise _bad_config(f"env_config_json is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise _bad_config(f"env_config_json must be an object, got {type(config).__name__}")
    return config


def check_slots(asked: Sequence[int], num_envs: int) -> list[int]:
    """Return the slots that `asked` names, all of them where it is empty."""
    if not asked:
        return list(range(num_envs))
    if len(asked) > num_envs:
        raise _bad_slots(f"{len(asked)} slots are named, the session has {num_envs}")
    slots = list(asked)
    for slot in slots:
        if slot >= num_envs:
            raise _bad_slots(f"slot {slot} does not exist: the slots are 0 to {num_envs - 1}", slot)
    if len(set(slots)) < len(slots):
        twice = next(slot for slot in slots if slots.count(slot) > 1)
        raise _bad_slots(f"slot {twice} is named twice", twice)
    return slots


def check_step_slots(asked: Sequence[int], num_envs: int) -> list[int]:
    """Return the slots of a Step, which names all of them in any order."""
    slots = check_slots(asked, num_envs)
    if len(slots) < num_envs:
        missing = sorted(set(range(num_envs)) - set(slots))
        raise Refused(
            Reason.BAD_REQUEST,
            f"a Step names every slot of the session; missing: {missing}",
            field="slots",
            slots=missing,
        )
    return slots


def check_reset(request: messages.ResetRequest, num_envs: int) -> tuple[list[int], list[int]]:
    """Return the slots and the seeds (one per slot, or none) of `request`."""
    slots = check_slots(request.slots, num_envs)
    if len(request.seeds) not in (0, len(slots)):
        raise _bad("seeds", f"{len(request.seeds)} seeds for {len(slots)} slots")
    if request.options_json not in ("", "{}"):
        raise _bad("options_json", "no environment here takes reset options")
    return slots, list(request.seeds)


def check_render(request: messages.RenderRequest, num_envs: int) -> list[int]:
    """Return the slots that are to be drawn."""
    if request.encoding != messages.RAW:
        name = _enum_name(messages.Encoding, request.encoding)
        raise _bad("encoding", f"encoding {name} was not negotiated: frames are RAW here")
    return check_slots(request.slots, num_envs)


class ActionCheck:
    """Turns the action tensors of a Step into arrays, once they are known to fit the space."""

    def __init__(self, action_space: spaces.Space) -> None:
        self._leaves = spaces.leaves(action_space)
        rng = np.random.default_rng(0)
        self._valid = [_value(leaf.space, rng) for leaf in self._leaves]

    def __call__(
        self, actions: Sequence[messages.Tensor], rows: int, ignored: list[int]
    ) -> list[np.ndarray]:
        """Return one writable array `[rows, …leaf shape]` per leaf.

        The values in the rows `ignored` are not looked at. Raises `Refused` naming the leaf.
        """
        if len(actions) != len(self._leaves):
            raise _bad_action(
                "action", f"{len(actions)} action tensors for {len(self._leaves)} leaves"
            )
        return [
            self._array(leaf, valid, tensor, rows, ignored)
            for leaf, valid, tensor in zip(self._leaves, self._valid, actions, strict=True)
        ]

    def _array(
        self,
        leaf: spaces.Leaf,
        valid: np.ndarray,
        tensor: messages.Tensor,
        rows: int,
        ignored: list[int],
    ) -> np.ndarray:
        if len(tensor.shape) > _MAX_DIMENSIONS:
            raise _bad_action(
                leaf.path or "action", f"action: a shape of {len(tensor.shape)} dimensions"
            )
        try:
            array = np.array(tensors.decode(tensor))
            spaces.check(leaf, array, bounds=False)
            if len(array) != rows:
                raise spaces.SpaceError(f"{len(array)} rows of actions for {rows} slots")
            if ignored:
                array[ignored] = valid
            spaces.check(leaf, array)
        except (tensors.TensorError, spaces.SpaceError) as error:
            raise _bad_action(leaf.path or "action", f"action: {error}") from None
        return array


def _value(space: spaces.LeafSpace, rng: np.random.Generator) -> np.ndarray:
    value: np.ndarray = spaces.sample(space, rng)
    return value


def _bad(field: str, message: str) -> Refused:
    return Refused(Reason.BAD_REQUEST, message, field=field)


def _bad_config(message: str) -> Refused:
    return Refused(Reason.BAD_CONFIG, message, field="env_config_json")


def _bad_action(field: str, message: str) -> Refused:
    return Refused(Reason.BAD_ACTION, message, field=field)


def _bad_slots(message: str, *slots: int) -> Refused:
    return Refused(Reason.BAD_REQUEST, message, field="slots", slots=slots)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _enum_name(enum: Any, value: int) -> str:
    return enum.Name(value) if value in enum.values() else str(value)
