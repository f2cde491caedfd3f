"""The restart budget on a clock that the tests turn."""

from __future__ import annotations

from wmrun.envs.restarts import RestartBudget


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_window_allows_its_number_and_no_more() -> None:
    budget = RestartBudget(max_restarts=10, per_window=2, window_s=300, clock=Clock())
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    assert budget.used == 2


def test_restarts_leave_the_window_as_time_passes() -> None:
    clock = Clock()
    budget = RestartBudget(max_restarts=10, per_window=1, window_s=300, clock=clock)
    assert budget.spend()
    clock.now = 300.0
    assert not budget.spend()
    clock.now = 300.1
    assert budget.spend()


def test_total_holds_however_slowly_it_is_spent() -> None:
    clock = Clock()
    budget = RestartBudget(max_restarts=2, per_window=5, window_s=1, clock=clock)
    for expected in (True, True, False):
        assert budget.spend() is expected
        clock.now += 1000


def test_budget_of_zero_allows_nothing() -> None:
    assert not RestartBudget(max_restarts=0, per_window=3, window_s=300).spend()


def test_wait_grows_with_the_restarts_in_the_window_and_is_bounded() -> None:
    clock = Clock()
    budget = RestartBudget(max_restarts=20, per_window=20, window_s=300, clock=clock)
    waits = []
    for _ in range(7):
        budget.spend()
        waits.append(budget.backoff_s)
    assert waits == [0, 1, 2, 4, 8, 10, 10]
    clock.now = 1000
    budget.spend()
    assert budget.backoff_s == 0


def test_what_is_told_of_a_restart_is_the_bound_that_is_nearer() -> None:
    clock = Clock()
    budget = RestartBudget(max_restarts=3, per_window=2, window_s=300, clock=clock)
    told = []
    for clock.now in (0.0, 1.0, 400.0):
        budget.spend()
        told.append(budget.standing)
    assert told == ["1 of 2 within 300 s", "2 of 2 within 300 s", "3 of 3 in all"]
