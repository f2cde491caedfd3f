"""Evaluating an agent: during training, and from a checkpoint on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.agents.base import Agent
from wmrun.config.load import load_config
from wmrun.config.schema import Config, EnvConfig, ImageConfig
from wmrun.envs.errors import EnvCapacity, EnvStopped
from wmrun.envs.request import Role
from wmrun.envs.spec import EnvSpec
from wmrun.errors import EnvError
from wmrun.launch.parts import OpenEnvs, build_agent, choose_device, eval_slots, open_envs
from wmrun.run.checkpoint import CheckpointStore
from wmrun.run.directory import RunDirectory
from wmrun.run.evaluate import Evaluation, evaluate
from wmrun.run.seeding import eval_seeds, seed_for
from wmrun.tracking.video import write_mp4

VIDEO_SIZE = (256, 256)
"""Height and width of frames that are rendered for a video only."""
FRAMES_PER_SECOND = 30


class Evaluator:
    """Plays episodes on sessions that training never sees, opened at the first use and kept.

    Every evaluation starts from the same environment seeds, so checkpoints are compared on the same
    episodes. When the agent sees no image, videos come from one more slot that renders; where that
    fails, `say` is told once and evaluations go on without videos, unless only its server was full.
    Once `should_stop()` is true, what is played or waited for ends.
    """

    def __init__(
        self,
        config: Config,
        run: RunDirectory,
        agent: Agent,
        *,
        episodes: int,
        watch: Callable[[int, int], None] = lambda finished, steps: None,
        say: Callable[[str], None] = lambda text: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._should_stop = should_stop
        self._watch = watch
        self._say = say
        self._config = config
        self._run = run
        self._agent = agent
        self._episodes = episodes
        self._has_frames = True
        """Until environments that render for a video alone were refused or failed."""
        self._opened: dict[Role, OpenEnvs] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def evaluate(self, *, video: bool = False) -> Evaluation | None:
        """Play the episodes; with `video` the result has the frames of one of them.

        Returns None when `should_stop` became true first. Raises `EnvError`; the next evaluation
        opens its sessions anew then.
        """
        try:
            return self._evaluate(video)
        except EnvStopped:
            return None
        except EnvError:
            self._close()
            raise

    def _close(self) -> None:
        self._opened.clear()
        self._stack.close()

    def _evaluate(self, video: bool) -> Evaluation | None:
        slots = eval_slots(self._config, self._episodes)
        envs = self._open("eval", self._config.env.with_slots(slots))
        image_key = find_image(envs.spec) if video else None
        evaluation = self._play(envs, self._episodes, image_key)
        if evaluation is None or not video or image_key is not None or not self._has_frames:
            return evaluation
        try:
            frames = self._render_episode()
        except EnvCapacity as full:
            self._say(f"run.video: no video of this evaluation: {full}")
            return evaluation
        except EnvError as error:
            self._has_frames = False
            self._say(f"run.video: no video can be made, evaluations go on without: {error}")
            return evaluation
        return None if frames is None else replace(evaluation, frames=frames)

    def _render_episode(self) -> np.ndarray | None:
        vector = True if self._config.env.vector is None else self._config.env.vector
        env = self._config.env.with_slots(1).model_copy(
            update={"image": ImageConfig(size=VIDEO_SIZE), "vector": vector}
        )
        envs = self._open("video", env)
        rendered = self._play(envs, 1, find_image(envs.spec))
        return None if rendered is None else rendered.frames

    def _play(self, envs: OpenEnvs, episodes: int, image_key: str | None) -> Evaluation | None:
        num_envs = envs.driver.num_envs
        seeds = eval_seeds(self._config.seed, num_envs) if envs.spec.seeds_per_reset else ()
        return evaluate(
            self._agent,
            envs.driver,
            episodes=episodes,
            seeds=seeds,
            noise_seed=seed_for(self._config.seed, "eval"),
            image_key=image_key,
            should_stop=self._should_stop,
            watch=self._watch,
            say=self._say,
        )

    def _open(self, role: Role, env: EnvConfig) -> OpenEnvs:
        if role not in self._opened:
            opened = open_envs(
                self._config, self._run, role=role, env=env, should_stop=self._should_stop
            )
            self._opened[role] = self._stack.enter_context(opened)
        return self._opened[role]


def find_image(spec: EnvSpec) -> str | None:
    """Return the first observation key that holds images, uint8 `[H, W, C]`."""
    for key, leaf in spec.obs_space.items():
        if isinstance(leaf, spaces.Box) and leaf.role == "IMAGE_HWC":
            return key
    return None


def save_video(run: RunDirectory, evaluation: Evaluation, name: str) -> Path | None:
    """Write the frames of an evaluation, if it has any, to the run's `videos/` as an mp4."""
    if evaluation.frames is None:
        return None
    file = run.videos / f"{name}.mp4"
    write_mp4(file, evaluation.frames, FRAMES_PER_SECOND)
    return file


@dataclass(frozen=True)
class EvaluatedRun:
    """What `wmrun eval` found."""

    run: RunDirectory
    env_steps: int
    evaluation: Evaluation
    video: Path | None


def evaluate_run(
    run: RunDirectory,
    *,
    checkpoint: str = "last",
    episodes: int = 10,
    video: bool = False,
    overrides: Sequence[str] = (),
    watch: Callable[[int, int], None] = lambda finished, steps: None,
    say: Callable[[str], None] = lambda text: None,
) -> EvaluatedRun:
    """Load a checkpoint of a run and play `episodes` with the policy's mode.

    `watch` hears at every step how many episodes are finished and how many agent steps were taken.
    """
    config = load_config(run.config_file, overrides)
    found = CheckpointStore(run.checkpoints).find(checkpoint)
    one_slot = config.env.with_slots(1)
    with open_envs(config, run, role="probe", env=one_slot) as envs:  # only says its spaces
        agent = build_agent(config, envs.spec, choose_device(config.device.name))
    agent.load(found.tensors("agent"))
    with Evaluator(config, run, agent, episodes=episodes, watch=watch, say=say) as evaluator:
        evaluation = evaluator.evaluate(video=video)
    assert evaluation is not None, "nothing asked this evaluation to stop"
    file = save_video(run, evaluation, f"{found.path.name}_seed_{config.seed}")
    return EvaluatedRun(run, found.env_steps, evaluation, file)
