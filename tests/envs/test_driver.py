"""Rows in, transitions out: every boundary of an episode, the expected rows written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from wmrun_envserver.wire import spaces

from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver, Transitions
from wmrun.envs.errors import EnvBudgetSpent, EnvDataError, EnvProtocolError
from wmrun.envs.rows import Rows, SlotFailure

FIRST, STEP, TERMINATED, TRUNCATED, RESTARTED, FAILED = range(6)


class ScriptedPool:
    """Gives out rows made of `(what, obs, reward)` per slot, keeps the actions it was sent.

    A slot that is None has no row.
    """

    def __init__(self, *script: Sequence[tuple[int, float, float] | None]) -> None:
        self.num_envs = len(script[0])
        self.actions: list[np.ndarray] = []
        self._script = iter(script)

    def reset(self, seeds: Sequence[int] = ()) -> Rows:
        return self.step_end()

    def step(self, actions: Sequence[np.ndarray]) -> Rows:
        self.step_begin(actions)
        return self.step_end()

    def step_begin(self, actions: Sequence[np.ndarray]) -> None:
        self.actions.append(actions[0])

    def step_end(self) -> Rows:
        there = {slot: row for slot, row in enumerate(next(self._script)) if row is not None}
        what, obs, reward = (list(column) for column in zip(*there.values(), strict=True))
        broken = tuple(slot for slot, row in there.items() if row[0] == RESTARTED)
        failed = tuple(slot for slot, row in there.items() if row[0] == FAILED)
        return Rows(
            slots=np.array(list(there)),
            obs={"vector": np.array(obs, np.float32)[:, None]},
            reward=np.array(reward, np.float64),
            terminated=np.array([kind == TERMINATED for kind in what]),
            truncated=np.array([kind == TRUNCATED for kind in what]),
            is_first=np.array([kind in (FIRST, RESTARTED) for kind in what]),
            broken=broken,
            failed=failed,
            errors=tuple(
                SlotFailure((slot,), "ENV_FAILED", f"boom {slot}") for slot in broken + failed
            ),
        )

    def report(self, slots: Sequence[int] = ()) -> str:
        return "The env server is running. Last lines of train.log:\n  ValueError: boom"


def drive(pool: ScriptedPool, steps: int) -> list[Transitions]:
    """Reset, then send every slot the action 1, 2, 3, ... in the first, second, third step."""
    driver = Driver(pool, ActionAdapter(spaces.Box((1,), low=-9, high=9)))
    rows = [driver.reset()]
    for n in range(steps):
        rows.append(driver.step(np.full((len(rows[-1].slots), 1), n + 1, np.float32)))
    return rows


def table(rows: list[Transitions], slot: int = 0) -> list[tuple[float, float, float, str]]:
    """One slot's `(action, obs, reward, flags)`: F is_first, L is_last, T is_terminal, B broken."""
    return [
        (
            float(row.action[i, 0]),
            float(row.obs["vector"][i, 0]),
            float(row.reward[i]),
            "".join(
                letter
                for letter, flag in (
                    ("F", row.is_first[i]),
                    ("L", row.is_last[i]),
                    ("T", row.is_terminal[i]),
                    ("B", slot in row.broken),
                )
                if flag
            ),
        )
        for row in rows
        for i in np.flatnonzero(row.slots == slot)
    ]


def test_time_limit_ends_an_episode_without_a_terminal_and_the_next_row_begins_another() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0)], [(STEP, 11, 1)], [(TRUNCATED, 12, 2)], [(FIRST, 20, 0)], [(STEP, 21, 5)]
    )
    assert table(drive(pool, 4)) == [
        (0, 10, 0, "F"),
        (1, 11, 1, ""),
        (2, 12, 2, "L"),
        (0, 20, 0, "F"),
        (4, 21, 5, ""),
    ]


def test_failure_state_is_last_and_terminal() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(TERMINATED, 11, -1)], [(FIRST, 20, 0)])
    assert table(drive(pool, 2)) == [(0, 10, 0, "F"), (1, 11, -1, "LT"), (0, 20, 0, "F")]


def test_restarted_slot_breaks_the_open_episode_and_begins_another() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(STEP, 11, 1)], [(RESTARTED, 20, 0)], [(STEP, 21, 1)])
    rows = drive(pool, 3)
    assert table(rows) == [
        (0, 10, 0, "F"),
        (1, 11, 1, ""),
        (0, 20, 0, "FB"),
        (3, 21, 1, ""),
    ]
    assert rows[2].errors == (SlotFailure((0,), "ENV_FAILED", "boom 0"),)


def test_an_env_that_breaks_its_contract_stops_the_run() -> None:
    class Careless(ScriptedPool):
        def step_end(self) -> Rows:
            failure = SlotFailure((0,), "ENV_CONTRACT", "the reward is nan")
            return dataclasses.replace(super().step_end(), errors=(failure,))

    pool = Careless([(FIRST, 10, 0)], [(RESTARTED, 20, 0)])
    with pytest.raises(EnvDataError, match=r"slot 0 returned what it may not: the reward is nan"):
        drive(pool, 1)


def test_slot_that_dies_between_episodes_breaks_nothing() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(TERMINATED, 11, 1)], [(RESTARTED, 20, 0)])
    assert table(drive(pool, 2)) == [(0, 10, 0, "F"), (1, 11, 1, "LT"), (0, 20, 0, "F")]


def test_slots_end_at_different_steps_without_touching_each_other() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0), (FIRST, 110, 0), (FIRST, 210, 0)],
        [(TERMINATED, 11, 1), (STEP, 111, 1), (STEP, 211, 1)],
        [(FIRST, 20, 0), (TRUNCATED, 112, 2), (RESTARTED, 220, 0)],
        [(STEP, 21, 1), (FIRST, 120, 0), (TRUNCATED, 221, 1)],
        [(STEP, 22, 2), (STEP, 121, 1), (FIRST, 230, 0)],
    )
    rows = drive(pool, 4)
    assert table(rows, 0) == [
        (0, 10, 0, "F"),
        (1, 11, 1, "LT"),
        (0, 20, 0, "F"),
        (3, 21, 1, ""),
        (4, 22, 2, ""),
    ]
    assert table(rows, 1) == [
        (0, 110, 0, "F"),
        (1, 111, 1, ""),
        (2, 112, 2, "L"),
        (0, 120, 0, "F"),
        (4, 121, 1, ""),
    ]
    assert table(rows, 2) == [
        (0, 210, 0, "F"),
        (1, 211, 1, ""),
        (0, 220, 0, "FB"),
        (3, 221, 1, "L"),
        (0, 230, 0, "F"),
    ]
    assert [row.broken for row in rows] == [(), (), (2,), (), ()]


def test_reset_breaks_the_episodes_that_were_under_way() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0), (FIRST, 110, 0)],
        [(STEP, 11, 1), (TERMINATED, 111, 1)],
        [(FIRST, 20, 0), (FIRST, 120, 0)],
    )
    driver = Driver(pool, ActionAdapter(spaces.Box((1,))))
    assert driver.reset().broken == ()
    driver.step(np.ones((2, 1), np.float32))
    assert driver.reset().broken == (0,)


def test_row_that_comes_late_has_the_action_that_led_to_it() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0), (FIRST, 110, 0)],
        [(STEP, 11, 1), None],
        [(STEP, 12, 1), None],
        [(STEP, 13, 1), (STEP, 111, 1)],
        [(STEP, 14, 1), (STEP, 112, 1)],
    )
    rows = drive(pool, 4)
    assert table(rows, 1) == [(0, 110, 0, "F"), (1, 111, 1, ""), (4, 112, 1, "")]
    assert [action[:, 0].tolist() for action in pool.actions] == [[1, 1], [2], [3], [4, 4]]


def test_slot_that_was_away_breaks_its_episode_when_it_is_back() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0), (FIRST, 110, 0)],
        [None, (STEP, 111, 1)],
        [None, (TERMINATED, 112, 1)],
        [(RESTARTED, 20, 0), (FIRST, 120, 0)],
        [(STEP, 21, 1), (STEP, 121, 1)],
    )
    rows = drive(pool, 4)
    assert table(rows, 0) == [(0, 10, 0, "F"), (0, 20, 0, "FB"), (4, 21, 1, "")]
    assert [row.broken for row in rows] == [(), (), (), (0,), ()]


def test_slot_that_is_told_broken_before_its_row_comes_begins_an_episode_then() -> None:
    class Early(ScriptedPool):
        def step_end(self) -> Rows:
            rows = super().step_end()
            return dataclasses.replace(rows, broken=(0,)) if len(rows.slots) == 1 else rows

    pool = Early(
        [(FIRST, 10, 0), (FIRST, 110, 0)],
        [None, (STEP, 111, 1)],
        [(FIRST, 20, 0), (STEP, 112, 1)],
    )
    rows = drive(pool, 2)
    assert [row.broken for row in rows] == [(), (), (0,)]
    assert table(rows, 0) == [(0, 10, 0, "F"), (0, 20, 0, "FB")]


def test_slot_that_is_absent_at_a_reset_ends_its_episode_with_its_first_row() -> None:
    pool = ScriptedPool(
        [(FIRST, 10, 0), (FIRST, 110, 0)],
        [(FIRST, 20, 0), None],
        [(STEP, 21, 1), (FIRST, 120, 0)],
    )
    driver = Driver(pool, ActionAdapter(spaces.Box((1,))))
    rows = [driver.reset(), driver.reset(), driver.step(np.ones((1, 1), np.float32))]
    assert [row.broken for row in rows] == [(), (0,), (1,)]
    assert table(rows, 1) == [(0, 110, 0, "F"), (0, 120, 0, "FB")]


def test_row_of_a_slot_whose_last_one_was_not_answered_is_refused() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(STEP, 11, 1)], [(STEP, 12, 1)])
    driver = Driver(pool, ActionAdapter(spaces.Box((1,))))
    driver.reset()
    driver.step(np.ones((1, 1), np.float32))
    with pytest.raises(EnvProtocolError, match="slot 0 before its last one was answered"):
        driver.step_end()


def test_terminated_at_the_time_limit_counts_as_terminal() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(TERMINATED, 11, 1)])
    end = pool.step_end
    pool.step_end = lambda: _also_truncated(end())  # type: ignore[method-assign]
    assert table(drive(pool, 1))[1] == (1, 11, 1, "LT")


def test_split_step_gives_the_rows_of_the_whole_one() -> None:
    script = [[(FIRST, 10, 0)], [(STEP, 11, 1)], [(TRUNCATED, 12, 2)], [(FIRST, 20, 0)]]
    driver = Driver(ScriptedPool(*script), ActionAdapter(spaces.Box((1,))))
    rows = [driver.reset()]
    for n in range(3):
        driver.step_begin(np.full((1, 1), n + 1, np.float32))
        rows.append(driver.step_end())
    assert table(rows) == table(drive(ScriptedPool(*script), 3))


def test_action_reaches_the_environment_even_where_it_is_ignored() -> None:
    pool = ScriptedPool([(FIRST, 10, 0)], [(TERMINATED, 11, 1)], [(FIRST, 20, 0)])
    drive(pool, 2)
    np.testing.assert_array_equal(np.stack(pool.actions), [[[1.0]], [[2.0]]])


def test_arrays_have_the_dtypes_of_replay_rows() -> None:
    row = drive(ScriptedPool([(FIRST, 10, 0)], [(STEP, 11, 0.1)]), 1)[1]
    dtypes = {
        name: getattr(row, name).dtype for name in ("action", "reward", "is_first", "is_last")
    }
    assert dtypes == {
        "action": np.float32,
        "reward": np.float32,
        "is_first": np.bool_,
        "is_last": np.bool_,
    }
    assert row.is_terminal.dtype == np.bool_


def test_slot_that_stays_away_ends_the_run_with_its_own_error() -> None:
    pool = ScriptedPool([(FIRST, 10, 0), (FIRST, 10, 0)], [(STEP, 11, 1), (FAILED, 0, 0)])
    with pytest.raises(EnvBudgetSpent) as caught:
        drive(pool, 1)
    assert caught.value.message == (
        "the environments of slots [1] failed too often to be restarted: boom 1\n"
        "The env server is running. Last lines of train.log:\n  ValueError: boom"
    )
    assert caught.value.exit_code == 3


def test_observation_that_is_not_finite_is_refused_by_key_slot_and_element() -> None:
    pool = ScriptedPool([(FIRST, 1, 0), (FIRST, 1, 0)], [(STEP, 2, 0), (STEP, np.nan, 0)])
    with pytest.raises(
        EnvDataError, match=r"^observation 'vector' of slot 1, element \[0\] is nan$"
    ):
        drive(pool, 1)


@pytest.mark.parametrize(
    ("reward", "said"),
    [(np.inf, "inf"), (np.nan, "nan"), (1e39, r"1e\+39, which does not fit float32")],
    ids=["inf", "nan", "beyond float32"],
)
def test_reward_that_is_not_finite_is_refused_by_slot(reward: float, said: str) -> None:
    pool = ScriptedPool([(FIRST, 1, 0), (FIRST, 1, 0)], [(STEP, 2, reward), (STEP, 2, 0)])
    with pytest.raises(EnvDataError, match=rf"^reward of slot 0 is {said}(\n|$)"):
        drive(pool, 1)


def test_server_that_skips_a_first_row_is_refused() -> None:
    pool = ScriptedPool([(FIRST, 1, 0)], [(TERMINATED, 2, 0)], [(STEP, 3, 0)])
    with pytest.raises(EnvProtocolError, match="no episode began in slot 0"):
        drive(pool, 2)


def test_server_that_begins_an_episode_within_another_is_refused() -> None:
    pool = ScriptedPool([(FIRST, 1, 0)], [(STEP, 2, 0)], [(FIRST, 3, 0)])
    with pytest.raises(EnvProtocolError, match="began while the last one was open in slot 0"):
        drive(pool, 2)


def _also_truncated(rows: Rows) -> Rows:
    return Rows(**{**vars(rows), "truncated": rows.truncated | rows.terminated})
