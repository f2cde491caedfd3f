"""What EnvPool observes in tasks of dm_control that dm_control does not."""

from __future__ import annotations

import re

FAMILY = "envpool.mujoco.dmc"

_BALL = frozenset({"ball_state", "target_position"})
_TERRAIN = frozenset({"origin", "rangefinder"})

# EnvPool has one set of observations per domain; those of other tasks are zeros, for the most part.
_UNOBSERVED = (
    (r"FingerSpin", frozenset({"target_position", "dist_to_target"})),
    (r"FishUpright", frozenset({"target"})),
    (r"Humanoid(Stand|Walk|Run)", frozenset({"position"})),
    (
        r"HumanoidRunPureState",
        frozenset({"joint_angles", "head_height", "extremities", "torso_vertical", "com_velocity"}),
    ),
    (r"Dog(Stand|Walk|Trot|Run)", _BALL),
    (r"Quadruped(Walk|Run)", _BALL | _TERRAIN),
    (r"QuadrupedEscape", _BALL),
    (r"QuadrupedFetch", _TERRAIN),
)


def unobserved(env_id: str) -> frozenset[str]:
    """Return the names of the arrays that are no observations of the task."""
    task = env_id.rpartition("-")[0]
    return next((names for tasks, names in _UNOBSERVED if re.fullmatch(tasks, task)), frozenset())
