"""What an open session says of its environments."""

from __future__ import annotations

from dataclasses import dataclass

from wmrun_envserver.wire import messages, spaces

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
