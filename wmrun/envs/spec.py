"""What an open session says of its environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wmrun_envserver.wire import messages, spaces

from wmrun.nn.observations import describe_space

BARE_LEAF = "obs"
"""The key of an observation space that is a single leaf and so has no path of its own."""


@dataclass(frozen=True)
class EnvSpec:
    """Spaces and traits that hold for every slot of a session."""

    obs_space: dict[str, spaces.LeafSpace]
    """Leaf spaces by path, in the order of the environment's observation space."""
    act_space: spaces.Space
    max_episode_steps: int | None
    """Agent steps until truncation; None: unknown or unlimited."""
    reward_range: tuple[float, float]
    deterministic: bool
    """The same seeds and actions give the same rows."""
    seeds_per_reset: bool
    """`reset` accepts seeds, not only the opening of the session."""
    spec_hash: str
    """SHA-256 of both spaces: equal hashes, equal spaces."""
    renderer: str | None
    """What draws the images (egl, osmesa, glfw), where the server says so."""


def common_spec(specs: Sequence[EnvSpec]) -> EnvSpec:
    """Return what holds for the slots of several sessions with equal spaces."""
    limits = {spec.max_episode_steps for spec in specs}
    return replace(
        specs[0],
        max_episode_steps=None if None in limits else max(limit or 0 for limit in limits),
        reward_range=(
            min(spec.reward_range[0] for spec in specs),
            max(spec.reward_range[1] for spec in specs),
        ),
        deterministic=all(spec.deterministic for spec in specs),
        seeds_per_reset=all(spec.seeds_per_reset for spec in specs),
    )


def difference(one: EnvSpec, other: EnvSpec) -> str:
    """Say in which space two specs differ first: `observation 'vector' is … and …`."""
    return _difference(one, other, verb="is", joint="and")


def change(before: EnvSpec, after: EnvSpec) -> str:
    """Say how a run's spec changed: `observation 'vector' was … when the run began, now …`."""
    return _difference(before, after, verb="was", joint="when the run began, now")


def _difference(one: EnvSpec, other: EnvSpec, *, verb: str, joint: str) -> str:
    for key in [*one.obs_space, *(key for key in other.obs_space if key not in one.obs_space)]:
        found = [
            describe_space(spec.obs_space[key]) if key in spec.obs_space else "missing"
            for spec in (one, other)
        ]
        if one.obs_space.get(key) != other.obs_space.get(key):
            return f"observation {key!r} {verb} {_both(found, joint)}"
    if one.act_space != other.act_space:
        found = [describe_space(spec.act_space) for spec in (one, other)]
        return f"the action {verb} {_both(found, joint)}"
    return "the order of the observations differs"


def _both(found: Sequence[str], joint: str) -> str:
    one, other = found
    if one == other:
        return f"{one} in both, with other bounds or roles"
    return f"{one} {joint} {other}"


def read_spec(reply: messages.OpenSessionReply) -> EnvSpec:
    """Return the spec in a reply to OpenSession. Raises `ValueError` for a malformed space."""
    obs_space = spaces.decode_space(reply.observation_space)
    return EnvSpec(
        obs_space={leaf.path or BARE_LEAF: leaf.space for leaf in spaces.leaves(obs_space)},
        act_space=spaces.decode_space(reply.action_space),
        max_episode_steps=reply.max_episode_steps or None,
        reward_range=(reply.reward_low, reply.reward_high),
        deterministic=reply.deterministic,
        seeds_per_reset=reply.seed_scope == messages.SEED_PER_RESET,
        spec_hash=reply.spec_hash,
        renderer=reply.renderer or None,
    )
