"""EnvPool's batches are the slots of a session, episodes as the contract wants them."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import pytest
from wmrun_envserver.backends.base import Batch, ConfigError, UnknownEnvError, VectorEnv
from wmrun_envserver.wire import spaces

envpool = pytest.importorskip("envpool")

from wmrun_envserver.backends.envpool import EnvPoolBackend  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting")

BACKEND = EnvPoolBackend()


def made(env_id: str, config: dict[str, Any] | None = None, seeds: list[int] | None = None) -> Any:
    BACKEND.prepare(env_id, config or {})
    seeds = seeds or [0]
    return BACKEND.make_vector(env_id, config or {}, len(seeds), seeds=seeds)


def advance(env: VectorEnv, step: list[int], action: Any, reset: list[int]) -> Batch:
    """Step `step`, all with `action`, and reset `reset`."""
    leaf = env.action_space
    return env.advance(step, [np.full((len(step), *leaf.shape), action, leaf.dtype)], reset)  # type: ignore[union-attr]


class Row(NamedTuple):
    slot: int
    reward: float
    terminated: bool
    truncated: bool
    is_first: bool


def rows(batch: Batch) -> list[Row]:
    columns = (batch.slots, batch.reward, batch.terminated, batch.truncated, batch.is_first)
    return [Row(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def until_end(env: VectorEnv, action: Any, slot: int = 0) -> list[Batch]:
    """Reset a slot and step it to its end."""
    batches = [advance(env, [], action, [slot])]
    while not (batches[-1].terminated[0] or batches[-1].truncated[0]):
        batches.append(advance(env, [slot], action, []))
    return batches


def test_every_id_of_envpool_that_does_not_crash_is_offered() -> None:
    ids = BACKEND.family().env_ids
    assert set(envpool.list_all_envs()) - set(ids) == {"Cig-v1", "MultiDuel-v1"}
    assert {"CartPole-v1", "WalkerWalk-v1", "Pong-v5", "Ant-v4"} < set(ids)


def test_ended_slots_begin_anew_in_the_same_call_in_which_others_step() -> None:
    env = made("CartPole-v1", seeds=[0, 1, 2])
    first = advance(env, [], 1, [0, 1, 2])
    assert rows(first) == [Row(slot, 0, False, False, True) for slot in range(3)]
    lengths = {0: 0, 1: 0, 2: 0}
    episodes = 0
    running, ended = [0, 1, 2], list[int]()
    for _ in range(60):
        batch = advance(env, running, 1, ended)
        assert sorted(batch.slots.tolist()) == [0, 1, 2]
        for row in rows(batch):
            assert row.is_first == (row.slot in ended)
            assert row.reward == (not row.is_first)
            assert not row.truncated
            lengths[row.slot] = 0 if row.is_first else lengths[row.slot] + 1
            if row.is_first:
                start = batch.obs[0][batch.slots.tolist().index(row.slot)]
                assert np.abs(start).max() <= 0.05
            if row.terminated:
                assert 8 <= lengths[row.slot] <= 11  # as long as it takes to fall to the right
                episodes += 1
        ended = batch.slots[batch.terminated].tolist()
        running = batch.slots[~batch.terminated].tolist()
    assert episodes > 12


def test_a_running_slot_is_reset_while_others_go_on() -> None:
    env = made("CartPole-v1", seeds=[0, 1, 2])
    advance(env, [], 1, [0, 1, 2])
    before = advance(env, [0, 1, 2], 1, [])
    batch = advance(env, [2, 0], 1, [1])
    by_slot = {slot: row for row, slot in enumerate(batch.slots.tolist())}
    assert sorted(by_slot) == [0, 1, 2]
    assert batch.is_first.tolist() == [slot == 1 for slot in by_slot]
    assert batch.reward.tolist() == [float(slot != 1) for slot in by_slot]
    for slot in (0, 2):
        position, velocity = before.obs[0][slot, :2]
        assert batch.obs[0][by_slot[slot], 0] == pytest.approx(position + 0.02 * velocity, abs=1e-6)
    assert np.abs(batch.obs[0][by_slot[1]]).max() <= 0.05


def test_any_slots_may_be_stepped_and_their_rows_come_in_order() -> None:
    env = made("CartPole-v1", seeds=[0, 1, 2, 3])
    everyone = advance(env, [], 1, [3, 1, 0, 2])
    assert everyone.slots.tolist() == [3, 1, 0, 2]
    for _ in range(3):
        assert advance(env, [2, 0], 1, []).slots.tolist() == [2, 0]
    assert advance(env, [], 1, [0]).slots.tolist() == [0]
    batch = advance(env, [1, 2], 1, [])
    at_first, later = everyone.obs[0][1], batch.obs[0][1]
    assert batch.obs[0][0, 0] == pytest.approx(at_first[0] + 0.02 * at_first[1], abs=1e-6)
    assert later[1] > 0.5  # four steps to the right


def test_seeds_of_slots_decide_everything_but_threads_nothing() -> None:
    def played(seeds: list[int] | None, num_threads: int = 1) -> list[bytes]:
        config = {"num_threads": num_threads}
        num = len(seeds or [0, 0])
        env = BACKEND.make_vector("CartPole-v1", config, num, seeds=seeds)
        batches = [advance(env, [], 1, list(range(num)))]
        for step in range(30):
            ended = batches[-1].terminated
            last = batches[-1].slots
            batches.append(advance(env, sorted(last[~ended]), step % 3 == 0, sorted(last[ended])))
        order = [np.argsort(batch.slots) for batch in batches]
        return [
            b"".join(
                batch.obs[0][o[slot]].tobytes() for batch, o in zip(batches, order, strict=True)
            )
            for slot in range(num)
        ]

    large = 2**63 + 1
    first = played([7, large, 9])
    assert len(set(first)) == 3
    assert played([7, large, 9], num_threads=3) == first
    assert played([9, 7]) == [first[2], first[0]]
    assert played([large + 1]) != [first[1]]
    assert played(None) != played(None)
    traits = BACKEND.prepare("CartPole-v1", {})
    assert (traits.deterministic, traits.seed_scope) == (True, "session")


def test_limits_truncate_and_failures_terminate() -> None:
    last = until_end(made("Pendulum-v1"), 0.0)[-1]
    assert (last.terminated[0], last.truncated[0]) == (False, True)
    assert BACKEND.prepare("Pendulum-v1", {}).max_episode_steps == 200
    assert len(until_end(made("Pendulum-v1"), 0.0)) == 201
    assert BACKEND.prepare("CartPole-v1", {"time_limit": 3}).max_episode_steps == 3
    env = made("CartPole-v1", {"time_limit": 3})
    for _ in range(3):
        ends = [(batch.terminated[0], batch.truncated[0]) for batch in until_end(env, 1)]
        assert ends == [(False, False)] * 3 + [(False, True)]


def test_a_failure_at_the_limit_terminates_and_truncates() -> None:
    fall = len(until_end(made("CartPole-v1", seeds=[5]), 1)) - 1
    last = until_end(made("CartPole-v1", {"time_limit": fall}, [5]), 1)[-1]
    assert (last.terminated[0], last.truncated[0]) == (True, True)
    later = until_end(made("CartPole-v1", {"time_limit": fall + 1}, [5]), 1)[-1]
    assert (later.terminated[0], later.truncated[0]) == (True, False)


def test_the_limit_of_every_slot_counts_from_its_own_reset() -> None:
    env = made("Pendulum-v1", {"time_limit": 4}, [0, 1])
    advance(env, [], 0.0, [0, 1])
    advance(env, [0], 0.0, []), advance(env, [0, 1], 0.0, [])
    assert advance(env, [0, 1], 0.0, []).truncated.tolist() == [False, False]
    assert advance(env, [0, 1], 0.0, []).truncated.tolist() == [True, False]
    assert [row.is_first for row in rows(advance(env, [1], 0.0, [0]))] == [False, True]
    assert advance(env, [0], 0.0, [1]).truncated.tolist() == [False, False]


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "WalkerWalk-v1", "CartPole-v1"])
def test_repeated_actions_are_single_frames_with_rewards_summed(env_id: str) -> None:
    config = {"action_repeat": 3, "time_limit": 20}
    assert BACKEND.prepare(env_id, config).max_episode_steps == 7
    repeated, single = made(env_id, config, [4, 5]), made(env_id, {"time_limit": 20}, [4, 5])
    advance(repeated, [], 1, [0, 1]), advance(single, [], 1, [0, 1])
    live = [0, 1]
    while live:
        batch = advance(repeated, live, 1, [])
        for row, slot in enumerate(live):
            frames = [advance(single, [slot], 1, [])]
            while len(frames) < 3 and not (frames[-1].terminated[0] or frames[-1].truncated[0]):
                frames.append(advance(single, [slot], 1, []))
            for leaf, array in enumerate(batch.obs):
                np.testing.assert_array_equal(array[row], frames[-1].obs[leaf][0])
            assert batch.reward[row] == pytest.approx(sum(f.reward[0] for f in frames), rel=1e-12)
            assert batch.terminated[row] == frames[-1].terminated[0]
            assert batch.truncated[row] == frames[-1].truncated[0]
        live = batch.slots[~(batch.terminated | batch.truncated)].tolist()


def test_half_the_normalised_action_is_half_the_torque_of_pendulum() -> None:
    scaled, plain = made("Pendulum-v1"), made("Pendulum-v1", {"normalize_actions": False})
    assert scaled.action_space == spaces.Box((1,), "float32", -1, 1, "VECTOR")
    assert plain.action_space == spaces.Box((1,), "float32", -2, 2, "VECTOR")
    advance(scaled, [], 0, [0]), advance(plain, [], 0, [0])
    halved, whole = advance(scaled, [0], 0.5, []), advance(plain, [0], 1.0, [])
    np.testing.assert_array_equal(halved.obs[0], whole.obs[0])
    assert halved.reward == whole.reward


def test_several_arrays_keep_their_names_nested_and_masks_their_role() -> None:
    space = made("Maze-v0").observation_space
    leaves = {leaf.path: leaf.space for leaf in spaces.leaves(space)}
    assert leaves["agent_position/row"] == spaces.Discrete(10)
    assert leaves["walls"] == spaces.MultiBinary((10, 10))
    assert leaves["action_mask"] == spaces.MultiBinary((4,), "ACTION_MASK")
    env = made("Maze-v0", seeds=[0, 1])
    batch = advance(env, [], 0, [0, 1])
    for leaf, array in zip(spaces.leaves(space), batch.obs, strict=True):
        spaces.check(leaf, array)
    by_path = dict(zip(leaves, batch.obs, strict=True))
    for slot in range(2):
        row, column = by_path["agent_position/row"][slot], by_path["agent_position/col"][slot]
        assert by_path["walls"][slot, row, column] == 0


def test_vectors_of_integers_are_a_multidiscrete() -> None:
    env = made("Tetris-v0")
    assert env.action_space == spaces.MultiDiscrete([4, 10])
    advance(env, [], 0, [0])
    assert advance(env, [0], 3, []).slots.tolist() == [0]


def test_infos_are_columns_of_numbers() -> None:
    env = made("HalfCheetah-v4", seeds=[0, 1])
    assert env.observation_space == spaces.Dict(
        (("vector", spaces.Box((17,), "float32", role="VECTOR")),)
    )
    advance(env, [], 0.0, [0, 1])
    batch = advance(env, [0, 1], 0.5, [])
    assert set(batch.info) == {"reward_run", "reward_ctrl", "x_position", "x_velocity"}
    column, values = batch.info["reward_ctrl"]
    assert list(column) == [0, 1]
    assert values == pytest.approx([-0.1 * 6 * 0.25] * 2)


def test_frames_are_those_of_the_slot_and_change_nothing() -> None:
    assert BACKEND.prepare("CartPole-v1", {}).render_modes == ("rgb_array",)
    assert BACKEND.prepare("WalkerWalk-v1", {}).render_modes == ()
    env = BACKEND.make_vector("CartPole-v1", {}, 2, seeds=[1, 2], render=True)
    other = made("CartPole-v1", seeds=[1, 2])
    advance(env, [], 1, [0, 1]), advance(other, [], 1, [0, 1])
    for _ in range(8):
        drawn = advance(env, [1], 1, [])
        expected = advance(other, [1], 1, [])
        np.testing.assert_array_equal(drawn.obs[0], expected.obs[0])
        frames = [env.render(slot) for slot in range(2)]
        assert (frames[0].shape[2], frames[0].dtype) == (3, np.uint8)
    assert not np.array_equal(*frames)


def test_closing_ends_the_threads() -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    env = made("CartPole-v1", {"num_threads": 3})
    assert threads() >= before + 3
    advance(env, [], 1, [0])
    env.close()
    assert threads() == before


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v9", "EnvPool has no env 'CartPole-v9'. Did you mean CartPole-v"),
        ("walker-walk", "Did you mean WalkerWalk-v1"),
        ("ALE/Pong-v5", "Did you mean Pong-v5"),
        ("zzz", "EnvPool has no env 'zzz'."),
    ],
)
def test_unknown_ids_are_refused(env_id: str, message: str) -> None:
    with pytest.raises(UnknownEnvError) as caught:
        BACKEND.prepare(env_id, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "config", "field", "message"),
    [
        (
            "Ant-v4",
            {"kwargs": {"ctrl_cost_wieght": 1}},
            "kwargs.ctrl_cost_wieght",
            "Ant-v4 has no setting 'ctrl_cost_wieght' that can be given. "
            "Did you mean ctrl_cost_weight",
        ),
        ("Ant-v4", {"kwargs": {"frame_skip": "5"}}, "kwargs.frame_skip", "must be a number"),
        ("Ant-v4", {"kwargs": {"frame_skip": 1.5}}, "kwargs", "EnvPool cannot make Ant-v4"),
        ("Ant-v4", {"kwargs": {"xml_file": "/etc/x"}}, "kwargs.xml_file", "no setting 'xml_file'"),
        ("Pong-v5", {"kwargs": {"task": "combat"}}, "kwargs.task", "has no setting 'task'"),
        ("Pong-v5", {"kwargs": {"frame_skip": 2}}, "kwargs.frame_skip", "set by action_repeat"),
        ("Pong-v5", {"kwargs": {"img_height": 9}}, "kwargs.img_height", "set by image.size"),
        ("CartPole-v1", {"kwargs": {"seed": 1}}, "kwargs.seed", "by the seeds of the session"),
        (
            "CartPole-v1",
            {"kwargs": {"max_episode_steps": 9}},
            "kwargs.max_episode_steps",
            "is set by time_limit",
        ),
        ("CartPole-v1", {"image": {}}, "image", "the env observes no images: leave image out"),
        ("CarRacing-v3", {"image": {"size": [64, 64]}}, "image.size", r"must be \[96, 96\]"),
        ("CarRacing-v3", {"image": {"camera": 1}}, "image.camera", "one view"),
        ("CartPole-v1", {"num_threads": -1}, "num_threads", "must be an integer >= 0, got -1"),
        ("CartPole-v1", {"threads": 1}, "threads", r"Did you mean num_threads\?"),
        ("Go9x9-v1", {}, "", "Go9x9-v1 has 2 players, and a slot is one"),
    ],
)
def test_wrong_options_are_refused(
    env_id: str, config: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        BACKEND.prepare(env_id, config)
    assert caught.value.field == field


def test_settings_reach_the_pool() -> None:
    env = made("HalfCheetah-v4", {"kwargs": {"ctrl_cost_weight": 2.0}})
    advance(env, [], 0.0, [0])
    _, values = advance(env, [0], 0.5, []).info["reward_ctrl"]
    assert values == pytest.approx([-2.0 * 6 * 0.25])
