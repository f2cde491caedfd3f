"""Tasks of the DeepMind Control suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wmrun_envserver.backends.base import Backend, Env, EnvFamily, EnvTraits, UnknownEnvError
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import CommonOptions, ImageOptions, OptionReader
from wmrun_envserver.backends.renderer import AUTO, Renderer
from wmrun_envserver.backends.renderer_probe import RENDERERS
from wmrun_envserver.backends.stack import wrapped

# The suite's design (Tassa et al. 2018, section 2): every task but lqr is truncated after 1000
# control steps and pays a reward in [0, 1] for each.
_EPISODE_FRAMES = 1000
_ENDLESS_DOMAIN = "lqr"

_RENDER_MODES = ("rgb_array",)
# What dm_control draws by default.
_FRAME_SIZE = (240, 320)

# It uploads a new terrain to the renderer at every reset, whether anything is drawn or not.
_ALWAYS_DRAWS = "quadruped-escape"


@dataclass(frozen=True)
class DmcOptions:
    """`quality: fast` draws without shadows, reflections, skybox and antialiasing.

    `render_device` numbers the EGL devices, which are mostly GPUs; None: the first that works.
    """

    common: CommonOptions
    render_backend: str
    render_device: int | None
    quality: str

    @staticmethod
    def read(config: Mapping[str, Any]) -> DmcOptions:
        reader = OptionReader(config)
        options = DmcOptions(
            common=CommonOptions.read(reader),
            render_backend=reader.choice("render_backend", (AUTO, *RENDERERS)),
            render_device=reader.integer("render_device", None, low=0),
            quality=reader.choice("quality", ("full", "fast")),
        )
        reader.finish()
        return options


class DmcBackend(Backend):
    """Offers ids "domain-task", such as "walker-walk"."""

    def __init__(self) -> None:
        self._renderer = Renderer()
        from wmrun_envserver.backends import dmc_env  # only now may dm_control be imported

        self._module = dmc_env

    def family(self) -> EnvFamily:
        return EnvFamily("dmc", tuple(self._module.TASKS), renderer=self._renderer.name)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        tasks = self._module.TASKS
        if env_id not in tasks:
            raise UnknownEnvError(
                f"dm_control.suite has no task {env_id!r}.{did_you_mean(env_id, tasks)}"
            )
        options = DmcOptions.read(config)
        if options.common.image is not None:
            self._use_renderer(options)
        domain, _ = tasks[env_id]
        any_thread = options.common.image is None and env_id != _ALWAYS_DRAWS
        if domain == _ENDLESS_DOMAIN:
            return EnvTraits(
                max_episode_steps=options.common.episode_steps(None),
                render_modes=_RENDER_MODES,
                any_thread=any_thread,
            )
        return EnvTraits(
            max_episode_steps=options.common.episode_steps(_EPISODE_FRAMES),
            reward_low=0.0,
            reward_high=float(options.common.action_repeat),
            render_modes=_RENDER_MODES,
            any_thread=any_thread,
        )

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        options = DmcOptions.read(config)
        image = options.common.image
        if render or image is not None or env_id == _ALWAYS_DRAWS:
            self._use_renderer(options)
        shown = ImageOptions(_FRAME_SIZE, None if image is None else image.camera)
        env = self._module.DmcEnv(
            *self._module.TASKS[env_id],
            image=image,
            frame=shown if render else None,
            fast=options.quality == "fast",
        )
        return wrapped(env, options.common, env.draw_image)

    def _use_renderer(self, options: DmcOptions) -> None:
        self._renderer.use(options.render_backend, options.render_device)
