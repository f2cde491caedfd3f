"""One game of the Arcade Learning Environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ale_py
import numpy as np
from ale_py import roms

from wmrun_envserver.backends.atari import AtariOptions
from wmrun_envserver.backends.atari_screen import AtariScreen
from wmrun_envserver.backends.base import ConfigError, Env, StepResult
from wmrun_envserver.backends.frames import image_space
from wmrun_envserver.wire import spaces

_INT31 = 2**31 - 1

# ALE greets on stderr for every game.
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def games() -> tuple[str, ...]:
    """Return the names of the games on offer.

    Those whose ROM is there but that ALE cannot play are left out: loading one ends the process.
    """
    return tuple(
        sorted(
            name
            for name in roms.get_all_rom_ids()
            if ale_py.ALEInterface.isSupportedROM(_rom(name))
        )
    )


class AtariEnv(Env):
    """Observes "ram" (uint8 `[128]`), "image" or both; "lives" are an info of every row.

    An episode terminates when the game is over, or a life lost where options say so, and is
    truncated at the time limit, which counts frames since the no-ops of the reset. It ends within
    an action's frames as soon as one of them ends it. The loss of a life restarts the game.
    """

    def __init__(self, game: str, options: AtariOptions) -> None:
        image = options.image
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", options.repeat_action_probability)
        self._rom = _rom(game)
        self._options = options
        self._load(np.random.SeedSequence())
        self._actions = (
            self._ale.getLegalActionSet()
            if options.full_action_space
            else self._ale.getMinimalActionSet()
        )
        self._screen = None if image is None else AtariScreen(self._ale, image, options.resize)
        self._frames = 0
        self.action_space = spaces.Discrete(len(self._actions))
        ram = ("ram", spaces.Box((self._ale.getRAMSize(),), "uint8"))
        screen = () if image is None else (("image", image_space(image)),)
        self.observation_space = spaces.Dict((ram, *screen) if options.ram else screen)

    def reset(self, seed: int | None) -> StepResult:
        if seed is not None:
            self._load(np.random.SeedSequence(seed))
        self._ale.reset_game()
        for _ in range(self._noops()):
            self._ale.act(ale_py.Action.NOOP)
            if self._ale.game_over():
                self._ale.reset_game()
        self._frames = 0
        self._draw()
        return self._result()

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        move = self._actions[int(action[0])]
        lives = self._ale.lives()
        reward = 0.0
        for left in reversed(range(self._options.action_repeat)):
            reward += self._ale.act(move)
            self._frames += 1
            terminated = self._terminated(lives)
            truncated = self._frames >= self._options.time_limit
            ended = terminated or truncated
            if ended or left < self._options.pooled_frames:
                self._draw()
            if ended:
                break
        return self._result(reward, terminated, truncated)

    def close(self) -> None:
        del self._ale, self._screen

    def render(self) -> np.ndarray:
        """Return the whole screen, uint8 `[210, 160, 3]` for most games."""
        screen: np.ndarray = self._ale.getScreenRGB()
        return screen

    def _load(self, seeds: np.random.SeedSequence) -> None:
        # ALE takes a seed, and makes the console anew, only as it loads a game.
        self._random = np.random.default_rng(seeds)
        self._ale.setInt("random_seed", int(self._random.integers(_INT31)))
        self._ale.loadROM(self._rom)
        if self._options.mode is not None:
            _check("mode", self._options.mode, self._ale.getAvailableModes())
            self._ale.setMode(self._options.mode)
        if self._options.difficulty is not None:
            _check("difficulty", self._options.difficulty, self._ale.getAvailableDifficulties())
            self._ale.setDifficulty(self._options.difficulty)

    def _noops(self) -> int:
        most = self._options.noop_max
        return int(self._random.integers(1, most + 1)) if most else 0

    def _terminated(self, lives: int) -> bool:
        lost = self._options.terminal_on_life_loss and self._ale.lives() < lives
        return lost or bool(self._ale.game_over())

    def _draw(self) -> None:
        if self._screen is not None:
            self._screen.draw()

    def _result(
        self, reward: float = 0.0, terminated: bool = False, truncated: bool = False
    ) -> StepResult:
        obs = [self._ale.getRAM()] if self._options.ram else []
        if self._screen is not None:
            obs.append(self._screen.image())
        return StepResult(obs, reward, terminated, truncated, {"lives": self._ale.lives()})


def _check(option: str, value: int, available: Sequence[int]) -> None:
    if value not in available:
        listed = ", ".join(map(str, available))
        raise ConfigError(f"the game has no {option} {value}, only: {listed}", option)


def _rom(game: str) -> Path:
    path = roms.get_rom_path(game)
    assert path is not None
    return path
