"""Frames added to what an env observes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wmrun_envserver.backends.base import Env, StepResult
from wmrun_envserver.backends.frames import fit, image_space
from wmrun_envserver.backends.options import ImageOptions
from wmrun_envserver.wire import spaces

IMAGE = "image"


class ImageObservation(Env):
    """Puts a frame, fitted to `image`, under the key "image" of a Dict observation space.

    The frame is what `render` returns, once per step whatever the action repeat inside; without
    `render` it is the env's own observation "image". With `vector` the other leaves are kept.
    """

    def __init__(
        self,
        env: Env,
        image: ImageOptions,
        *,
        vector: bool,
        render: Callable[[], np.ndarray] | None,
    ) -> None:
        assert isinstance(env.observation_space, spaces.Dict)
        kept = [entry for entry in env.observation_space.entries if vector and entry[0] != IMAGE]
        self.observation_space = spaces.Dict((*kept, (IMAGE, image_space(image))))
        self.action_space = env.action_space
        self._env = env
        self._image = image
        self._render = render
        paths = [leaf.path for leaf in spaces.leaves(env.observation_space)]
        self._own_image = paths.index(IMAGE) if render is None else -1
        self._kept = [i for i, path in enumerate(paths) if vector and path != IMAGE]

    def reset(self, seed: int | None) -> StepResult:
        return self._with_image(self._env.reset(seed))

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        return self._with_image(self._env.step(action))

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        return self._env.render()

    def _with_image(self, result: StepResult) -> StepResult:
        frame = result.obs[self._own_image] if self._render is None else self._render()
        kept = [result.obs[i] for i in self._kept]
        return result._replace(obs=[*kept, fit(frame, self._image)])
