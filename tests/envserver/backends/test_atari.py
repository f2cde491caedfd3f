"""Atari games behave as the Arcade Learning Environment says, through the backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.atari import AtariBackend
from wmrun_envserver.backends.base import ConfigError, Env, StepResult, UnknownEnvError
from wmrun_envserver.wire import spaces

ale_py = pytest.importorskip("ale_py")

from ale_py import roms  # noqa: E402

BACKEND = AtariBackend()
RAM = {"vector": True}
PLAIN = {"repeat_action_probability": 0, "noop_max": 0}
"""Every frame follows from the actions alone."""


def made(game: str, config: dict[str, Any]) -> Env:
    BACKEND.prepare(game, config)
    return BACKEND.make(game, config)


def raw(game: str, *, sticky: float = 0.0, seed: int = 0) -> Any:
    """Return the game in ALE itself, at its first frame."""
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", sticky)
    ale.setInt("random_seed", seed)
    ale.loadROM(roms.get_rom_path(game))
    ale.reset_game()
    return ale


def move(index: int) -> list[np.ndarray]:
    return [np.array(index)]


def until_end(env: Env, index: int = 0) -> list[StepResult]:
    results = [env.step(move(index))]
    while not (results[-1].terminated or results[-1].truncated):
        results.append(env.step(move(index)))
    return results


def test_every_game_that_ale_can_play_is_offered() -> None:
    games = BACKEND.family().env_ids
    assert len(games) == 104
    assert {"pong", "ms_pacman", "montezuma_revenge"} < set(games)
    assert "combat" not in games  # two players only


@pytest.mark.parametrize(
    ("game", "minimal"), [("pong", 6), ("breakout", 4), ("freeway", 3), ("alien", 18)]
)
def test_actions_are_those_that_a_game_needs_or_all(game: str, minimal: int) -> None:
    assert made(game, RAM).action_space == spaces.Discrete(minimal)
    assert made(game, {**RAM, "full_action_space": True}).action_space == spaces.Discrete(18)


def test_an_image_is_the_maximum_of_the_last_two_of_the_frames_of_an_action() -> None:
    image = {"size": [210, 160], "grayscale": True}
    env = made("space_invaders", {**PLAIN, "image": image, "action_repeat": 4})
    ale = raw("space_invaders")
    assert env.observation_space == spaces.Dict(
        (("image", spaces.Box((210, 160, 1), "uint8", 0, 255, "IMAGE_HWC")),)
    )
    np.testing.assert_array_equal(env.reset(0).obs[0][..., 0], ale.getScreenGrayscale())
    pooled = 0
    for index in np.random.default_rng(0).integers(6, size=60):
        frames, reward = [], 0
        for _ in range(4):
            reward += ale.act(ale.getMinimalActionSet()[index])
            frames.append(ale.getScreenGrayscale())
        result = env.step(move(index))
        np.testing.assert_array_equal(result.obs[0][..., 0], np.maximum(*frames[-2:]))
        assert result.reward == reward
        pooled += bool((frames[-2] != frames[-1]).any())
    assert pooled > 10


@pytest.mark.parametrize("pooled_frames", [1, 9])
def test_as_many_frames_are_pooled_as_asked_for_but_no_older_than_the_action(
    pooled_frames: int,
) -> None:
    config = {**PLAIN, "image": {"size": [210, 160]}, "action_repeat": 4}
    env = made("space_invaders", {**config, "pooled_frames": pooled_frames})
    ale = raw("space_invaders")
    env.reset(0)
    for _ in range(20):
        frames = []
        for _ in range(4):
            ale.act(ale_py.Action.NOOP)
            frames.append(ale.getScreenRGB())
        expected = np.max(frames[-pooled_frames:], axis=0)
        np.testing.assert_array_equal(env.step(move(0)).obs[0], expected)


def test_area_means_count_parts_of_pixels() -> None:
    screen = raw("pong").getScreenRGB()
    halved = made("pong", {**PLAIN, "image": {"size": [105, 80]}}).reset(0).obs[0]
    blocks = screen.reshape(105, 2, 80, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(halved, np.rint(blocks))
    # 64 pixels for 210 and for 160: cut every pixel in parts of 1/32 and 1/2 to have whole blocks.
    fine = screen.repeat(32, axis=0).repeat(2, axis=1)
    blocks = fine.reshape(64, 105, 64, 5, 3).mean(axis=(1, 3))
    small = made("pong", {**PLAIN, "image": {"size": [64, 64]}}).reset(0).obs[0]
    assert np.abs(small - blocks).max() < 0.5001


def test_bilinear_images_are_those_of_a_triangle_filter() -> None:
    from PIL import Image

    image = {"size": [96, 96], "grayscale": True}
    env = made("pong", {**PLAIN, "image": image, "resize": "bilinear"})
    screen = Image.fromarray(raw("pong").getScreenGrayscale())
    expected = np.asarray(screen.resize((96, 96), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(env.reset(0).obs[0][..., 0], expected)


def test_the_default_is_a_gray_image_and_the_ram_comes_when_asked_for() -> None:
    def leaves(config: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
        space = made("pong", config).observation_space
        return [(leaf.path, leaf.space.shape) for leaf in spaces.leaves(space)]

    assert leaves({}) == [("image", (64, 64, 1))]
    assert leaves({"image": {}}) == [("image", (64, 64, 3))]
    assert leaves(RAM) == [("ram", (128,))]
    assert leaves({**RAM, "image": {"size": [8, 9]}}) == [("ram", (128,)), ("image", (8, 9, 3))]
    both = made("pong", {**RAM, **PLAIN, "image": {"size": [8, 9]}})
    ale = raw("pong")
    np.testing.assert_array_equal(both.reset(0).obs[0], ale.getRAM())
    ale.act(ale.getMinimalActionSet()[2])
    ram, image = both.step(move(2)).obs
    np.testing.assert_array_equal(ram, ale.getRAM())
    assert image.shape == (8, 9, 3)


def test_a_reset_plays_one_to_thirty_noops() -> None:
    env = made("pong", RAM)
    env.reset(0)
    noops = {env._ale.getEpisodeFrameNumber() for _ in range(100) if env.reset(None)}  # type: ignore[attr-defined]
    assert len(noops) > 20
    assert (min(noops), max(noops)) == (1, 30)
    one = made("pong", {**RAM, "noop_max": 1})
    ale = raw("pong")
    ale.act(ale_py.Action.NOOP)
    np.testing.assert_array_equal(one.reset(0).obs[0], ale.getRAM())


def test_a_sticky_action_is_the_last_one_with_the_probability_asked_for() -> None:
    env = made("freeway", {**RAM, "noop_max": 0})
    env.reset(0)
    oracle = raw("freeway")
    actions = oracle.getMinimalActionSet()
    telling = repeated = last = 0
    for index in np.random.default_rng(0).integers(3, size=900):
        state = env._ale.cloneState()  # type: ignore[attr-defined]
        outcomes = []
        for candidate in (last, index):
            oracle.restoreState(state)
            oracle.act(actions[candidate])
            outcomes.append(oracle.getRAM().tobytes())
        happened = env.step(move(index)).obs[0].tobytes()
        assert happened in outcomes
        if outcomes[0] != outcomes[1]:
            telling += 1
            repeated += happened == outcomes[0]
            last = last if happened == outcomes[0] else index
        else:
            last = index
    assert telling > 200
    assert abs(repeated / telling - 0.25) < 4 * (0.25 * 0.75 / telling) ** 0.5


def test_actions_that_always_stick_change_nothing() -> None:
    stuck = made("pong", {**RAM, "noop_max": 0, "repeat_action_probability": 1})
    free = made("pong", {**RAM, **PLAIN})
    stuck.reset(0), free.reset(0)
    for _ in range(50):
        np.testing.assert_array_equal(stuck.step(move(2)).obs[0], free.step(move(0)).obs[0])


def test_seeds_repeat_episodes_sticky_actions_included() -> None:
    def play(env: Env, seed: int | None) -> list[bytes]:
        rows = [env.reset(seed)]
        actions = np.random.default_rng(1).integers(6, size=100)
        rows += [env.step(move(index)) for index in actions]
        return [row.obs[0].tobytes() for row in rows]

    one, two = made("pong", RAM), made("pong", RAM)
    seed = 2**63 + 1
    first = play(one, seed)
    going_on = play(one, None)
    assert going_on != first
    assert play(two, None) not in (first, going_on)
    assert [play(two, seed), play(two, None)] == [first, going_on]
    assert play(two, seed + 1) != first
    assert BACKEND.prepare("pong", RAM).deterministic


def test_the_time_limit_truncates_at_its_very_frame() -> None:
    config = {**RAM, "action_repeat": 4, "time_limit": 10}
    assert BACKEND.prepare("pong", config).max_episode_steps == 3
    env = made("pong", {**config, **PLAIN})
    for _ in range(2):
        env.reset(0)
        results = until_end(env)
        assert [(r.terminated, r.truncated) for r in results] == [(False, False)] * 2 + [
            (False, True)
        ]
        assert env._ale.getEpisodeFrameNumber() == 10  # type: ignore[attr-defined]


def test_half_an_hour_is_the_time_limit_unless_told_otherwise() -> None:
    for action_repeat, steps in ((1, 108_000), (4, 27_000), (5, 21_600)):
        config = {"action_repeat": action_repeat}
        assert BACKEND.prepare("pong", config).max_episode_steps == steps
    assert BACKEND.prepare("pong", {"time_limit": 200_000}).max_episode_steps == 200_000


def test_an_episode_terminates_within_the_frames_of_an_action_when_the_game_is_over() -> None:
    env = made("space_invaders", {**RAM, **PLAIN, "action_repeat": 1000})
    ale = raw("space_invaders")
    frames = 0
    while not ale.game_over():
        ale.act(ale_py.Action.NOOP)
        frames += 1
    env.reset(0)
    results = until_end(env)
    assert len(results) == -(-frames // 1000)
    assert (results[-1].terminated, results[-1].truncated) == (True, False)
    np.testing.assert_array_equal(results[-1].obs[0], ale.getRAM())
    assert env._ale.getEpisodeFrameNumber() == frames  # type: ignore[attr-defined]


def test_lives_are_told_and_may_end_the_episode() -> None:
    config = {**RAM, **PLAIN, "action_repeat": 4}
    env = made("space_invaders", config)
    assert env.reset(0).info == {"lives": 3}
    lives = [result.info["lives"] for result in until_end(env)]
    assert lives == sorted(lives, reverse=True)
    assert set(lives) == {3, 2, 1, 0}
    careful = made("space_invaders", {**config, "terminal_on_life_loss": True})
    for _ in range(2):
        assert careful.reset(0).info == {"lives": 3}
        results = until_end(careful)
        assert [r.info["lives"] for r in results] == [3] * lives.index(2) + [2]
        assert (results[-1].terminated, results[-1].truncated) == (True, False)


def test_modes_and_difficulties_make_other_games() -> None:
    def played(config: dict[str, Any]) -> bytes:
        env = made("pong", {**RAM, **PLAIN, **config})
        env.reset(0)
        return b"".join(env.step(move(1)).obs[0].tobytes() for _ in range(100))

    assert played({}) == played({"mode": 0, "difficulty": 0})
    assert len({played({}), played({"mode": 1}), played({"difficulty": 1})}) == 3


def test_rendering_shows_the_screen_and_changes_nothing() -> None:
    assert BACKEND.prepare("pong", {}).render_modes == ("rgb_array",)
    env = BACKEND.make("pong", {**PLAIN, "action_repeat": 4}, render=True)
    other = made("pong", {**PLAIN, "action_repeat": 4})
    env.reset(0), other.reset(0)
    for _ in range(20):
        frame = env.render()
        assert (frame.shape, frame.dtype) == ((210, 160, 3), np.uint8)
        np.testing.assert_array_equal(env.step(move(3)).obs[0], other.step(move(3)).obs[0])
    env.close()


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("pogn", "ALE has no game 'pogn'. Did you mean pong?"),
        ("Pong", "no game 'Pong'. Did you mean pong?"),
        ("ALE/Pong-v5", "no game 'ALE/Pong-v5'. Did you mean pong?"),
        ("MsPacmanNoFrameskip-v4", "Did you mean ms_pacman"),
        ("james_bond", "Did you mean jamesbond"),
        ("../pong", "ALE has no game '../pong'."),
    ],
)
def test_unknown_games_are_refused(env_id: str, message: str) -> None:
    with pytest.raises(UnknownEnvError) as caught:
        BACKEND.prepare(env_id, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"repeat_action_probability": 1.5}, "repeat_action_probability", "from 0 to 1, got 1.5"),
        ({"repeat_action_probability": True}, "repeat_action_probability", "from 0 to 1, got True"),
        ({"noop_max": -1}, "noop_max", "must be an integer >= 0, got -1"),
        ({"resize": "nearest"}, "resize", "must be one of area, bilinear, got 'nearest'"),
        ({"image": {"camera": 1}}, "image.camera", "must be left out: a game has one view, got 1"),
        ({"mode": 7}, "mode", "the game has no mode 7, only: 0, 1"),
        ({"difficulty": 9}, "difficulty", "the game has no difficulty 9, only: 0, 1, 2, 3"),
        ({"sticky": True}, "sticky", "unknown option 'sticky'"),
        ({"noops_max": 3}, "noops_max", r"unknown option 'noops_max'. Did you mean noop_max\?"),
    ],
)
def test_wrong_options_are_refused(config: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        made("pong", config)
    assert caught.value.field == field


@pytest.mark.slow
def test_every_game_keeps_its_promises() -> None:
    for game in BACKEND.family().env_ids:
        env = made(game, {**RAM, "image": {"size": [64, 64]}, "action_repeat": 4})
        leaves = spaces.leaves(env.observation_space)
        rows = [env.reset(0)]
        for index in range(env.action_space.n):  # type: ignore[union-attr]
            if not (rows[-1].terminated or rows[-1].truncated):
                rows.append(env.step(move(index)))
        for row in rows:
            for leaf, array in zip(leaves, row.obs, strict=True):
                spaces.check(leaf, array[None])
        env.close()
