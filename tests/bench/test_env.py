"""The benchmark of env servers: what is measured, against what, and what a figure is held to."""

from __future__ import annotations

import socket

import pytest

from wmrun.bench.env import Case, Measured, Skipped, Target, bench_env, cases
from wmrun.bench.env_bare import BareServer, sample_step
from wmrun.bench.env_peers import async_vector_env
from wmrun.bench.env_stepping import driven, in_turn, timer
from wmrun.bench.env_tcp import on_tcp
from wmrun.config.schema import EnvConfig

CASE = Case("a case", 16, pytest.fail, "another", pytest.fail)


def test_a_ratio_of_rates_is_above_one_where_the_baseline_takes_longer():
    assert Measured(CASE, (1.0, 2.0, 4.0), (3.0, 6.0, 4.0)).ratio == 3


def test_a_ratio_of_times_is_above_one_where_the_baseline_takes_less_long():
    case = Case("a case", 1, pytest.fail, "bare", pytest.fail, "time")
    assert Measured(case, (3.0, 6.0, 4.0), (1.0, 2.0, 4.0)).ratio == 3


def test_without_a_baseline_there_is_no_ratio():
    assert Measured(CASE, (1.0,)).ratio is None


def test_a_batched_step_counts_a_step_of_every_slot():
    assert Measured(CASE, (4.0, 2.0, 1.0)).env_steps_per_s == 16 / 0.002


@pytest.mark.parametrize(
    ("target", "met", "text"),
    [
        (Target("ratio", at_least=3), True, ">= 3x"),
        (Target("ratio", at_least=3.5), False, ">= 3.5x"),
        (Target("ms", at_most=0.5), False, "<= 0.5 ms"),
        (Target("env_steps_per_s", at_least=10_000), True, ">= 10,000 env steps/s"),
    ],
)
def test_a_figure_is_held_to_its_target(target, met, text):
    case = Case("a case", 16, pytest.fail, "another", pytest.fail, target=target)
    assert Measured(case, (1.0,), (3.0,)).is_met is met
    assert str(target) == text


def test_what_is_compared_is_measured_in_turn():
    called = []
    timers = [lambda s: called.append("a") or 1.0, lambda s: called.append("b") or 2.0]
    assert in_turn(timers, seconds=0, rounds=2) == [[1.0, 1.0], [2.0, 2.0]]
    assert called == ["a", "b", "a", "b", "a", "b"]


def test_a_step_that_takes_longer_than_the_round_is_timed_once():
    called = []
    now = iter([10.0, 13.0])
    assert timer(lambda: called.append("step"), lambda: next(now))(0.0) == 3
    assert called == ["step"]


def test_the_bare_server_answers_with_the_bytes_of_a_step():
    request, reply = sample_step(EnvConfig(backend="echo", task="echo", num_envs=1))
    with BareServer(request, reply) as server:
        assert server.call() == reply


def test_a_case_is_measured_through_a_server_and_beside_the_bare_round_trip():
    (one, sixteen) = bench_env(seconds=0.01, rounds=1, only="echo, 4 floats")
    for result, slots in ((one, 1), (sixteen, 16)):
        assert isinstance(result, Measured)
        assert result.case.slots == slots
        assert result.ratio is not None


def test_a_server_on_a_port_is_stepped_by_calls_and_ends_with_the_case():
    with on_tcp(EnvConfig(backend="echo", task="echo", num_envs=1)) as config:
        address = config.server.address
        assert address is not None
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        with driven(config) as timed:
            assert timed(0.0) > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_gymnasium_steps_beside_a_server():
    with async_vector_env("CartPole-v1", 2) as timed:
        assert timed(0.0) > 0


def test_a_case_that_lacks_a_package_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'gymnasium'")

    case = Case("a case", 16, missing)  # type: ignore[arg-type]
    monkeypatch.setattr("wmrun.bench.env.cases", lambda: [case])
    assert list(bench_env()) == [Skipped(case, "No module named 'gymnasium'")]


def test_cases_have_names_of_their_own():
    names = [(case.name, case.slots) for case in cases()]
    assert len(set(names)) == len(names)
