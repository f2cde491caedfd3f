"""One task of dm_control.suite and its camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from dm_control import mujoco, suite

from wmrun_envserver.backends.base import ConfigError, Env, StepResult
from wmrun_envserver.backends.options import ImageOptions
from wmrun_envserver.wire import spaces

TASKS: dict[str, tuple[str, str]] = {
    f"{domain}-{task}": (domain, task) for domain, task in suite.ALL_TASKS
}
"""Domain and task by env id."""

# Camera 0 of the quadruped looks from far away; 2 follows it.
_CAMERAS = {"quadruped": 2}
_FAST_FLAGS = {"shadow": False, "reflection": False, "skybox": False}


class DmcEnv(Env):
    """Observes one float32 vector per observation of the task; a frame is one control step.

    An episode terminates where the discount is 0; any other end is truncation.
    """

    def __init__(
        self,
        domain: str,
        task: str,
        *,
        image: ImageOptions | None = None,
        frame: ImageOptions | None = None,
        fast: bool = False,
    ) -> None:
        """Build the task, and cameras for what `draw_image` and `render` are to draw.

        Raises `ConfigError` where the task has no such camera.
        """
        self._domain = domain
        # Fixed, so that lqr, which draws its masses when built, is one system in every slot.
        self._random = np.random.RandomState(0)
        self._env = suite.load(domain, task, task_kwargs={"random": self._random})
        self._seeded = False
        specs = self._env.observation_spec()
        self.observation_space = spaces.Dict(
            tuple(
                (name, spaces.Box((prod(spec.shape),), "float32", role="VECTOR"))
                for name, spec in specs.items()
            )
        )
        self._names = tuple(specs)
        action = self._env.action_spec()
        self.action_space = spaces.Box(action.shape, action.dtype, action.minimum, action.maximum)
        self._set_buffers([view for view in (image, frame) if view is not None], fast)
        self.draw_image = None if image is None else self._view(image, fast)
        """Draws the current frame of `image`, uint8 `[H, W, 3]`."""
        self._draw_frame = None if frame is None else self._view(frame, fast)

    def reset(self, seed: int | None) -> StepResult:
        if seed is not None or not self._seeded:
            self._seed(seed)
        return self._result(self._env.reset())

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        return self._result(self._env.step(action[0]))

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        assert self._draw_frame is not None, "made without frames"
        return self._draw_frame()

    def _set_buffers(self, views: Sequence[ImageOptions], fast: bool) -> None:
        # All cameras draw into one buffer, which is made with the first of them.
        if views:
            visual = self._env.physics.model.vis
            visual.global_.offheight = max(view.size[0] for view in views)
            visual.global_.offwidth = max(view.size[1] for view in views)
            if fast:
                visual.quality.offsamples = 0

    def _view(self, image: ImageOptions, fast: bool) -> Callable[[], np.ndarray]:
        physics = self._env.physics
        index = _CAMERAS.get(self._domain, 0) if image.camera is None else image.camera
        camera = mujoco.Camera(physics, *image.size, _camera_index(physics.model, index))
        flags = _FAST_FLAGS if fast else None
        # The camera draws into one array again and again.
        return lambda: np.array(camera.render(render_flag_overrides=flags))

    def _seed(self, seed: int | None) -> None:
        # SeedSequence takes any seed, and entropy of the system for None; RandomState only 32 bits.
        bits = np.random.MT19937(np.random.SeedSequence(seed))
        self._random.set_state(np.random.RandomState(bits).get_state())
        self._seeded = True

    def _result(self, time_step: Any) -> StepResult:
        observation = time_step.observation
        terminated = time_step.last() and time_step.discount == 0
        return StepResult(
            [np.asarray(observation[name], np.float32).reshape(-1) for name in self._names],
            reward=float(time_step.reward or 0.0),
            terminated=terminated,
            truncated=time_step.last() and not terminated,
        )


def _camera_index(model: Any, camera: int | str) -> int:
    names = [model.id2name(index, "camera") for index in range(model.ncam)]
    if camera in names:
        return names.index(camera)
    if isinstance(camera, int) and -1 <= camera < len(names):
        return camera
    listed = ", ".join(
        f"{index} ({name})" if name else str(index) for index, name in enumerate(names)
    )
    raise ConfigError(
        f"there is no camera {camera!r} here, only: -1 (free), {listed}", "image.camera"
    )
