"""The wrappers around a simulator, in the one order that all families share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wmrun_envserver.backends.action_repeat import ActionRepeat
from wmrun_envserver.backends.base import Env
from wmrun_envserver.backends.box_actions import BoxActions, has_float_box
from wmrun_envserver.backends.image_observation import ImageObservation
from wmrun_envserver.backends.options import CommonOptions
from wmrun_envserver.backends.time_limit import TimeLimit


def wrapped(
    env: Env, options: CommonOptions, render: Callable[[], np.ndarray] | None = None
) -> Env:
    """Return `env`, whose every step is one frame, behind what `options` ask for.

    The time limit counts frames, so it is inside the action repeat; a frame is rendered only for
    the agent, so that is outside.
    """
    if options.time_limit is not None:
        env = TimeLimit(env, options.time_limit)
    if options.action_repeat > 1:
        env = ActionRepeat(env, options.action_repeat)
    if (options.normalize_actions or options.clip_actions) and has_float_box(env.action_space):
        env = BoxActions(env, normalize=options.normalize_actions, clip=options.clip_actions)
    if options.image is not None:
        env = ImageObservation(env, options.image, vector=options.vector, render=render)
    return env
