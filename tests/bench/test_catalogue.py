"""The benchmarks that ship with wmrun."""

from __future__ import annotations

import pytest

from wmrun.bench.catalogue import BENCHMARKS, Benchmark, find_benchmark
from wmrun.bench.curves import BENCHMARKS as FOLDER
from wmrun.bench.learn import benchmark_configs
from wmrun.bench.rules import Published
from wmrun.errors import ExitCode, UsageError


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda item: item.name)
def test_a_benchmark_is_a_valid_experiment_that_can_be_judged(benchmark: Benchmark):
    first, second = benchmark_configs(benchmark, [0, 5])
    assert (first.name, first.seed, second.seed) == (benchmark.name, 0, 5)
    assert first.agent["type"] == f"dreamer_{benchmark.name[:2]}"
    if isinstance(benchmark.rule, Published):
        assert benchmark.rule.curve.mean.frames[-1] > benchmark.rule.curve.mean.frames[0]


def test_dmc_tasks_are_named_as_dm_control_names_them():
    (config,) = benchmark_configs(find_benchmark("v3-dmc-proprio-cup-catch"), [0])
    assert config.env.task == "ball_in_cup-catch"
    assert config.env.image is None


def test_every_file_belongs_to_a_benchmark_or_is_extended_by_one():
    files = {source for item in BENCHMARKS.values() for source in _sources(item)}
    assert set(FOLDER.glob("*.yaml")) == {f for f in files if f.parent == FOLDER}


@pytest.mark.parametrize(
    ("name", "near"),
    [("v2-pendulm", "'v2-pendulum'"), ("v3-dmc-walker_walk", "'v3-dmc-walker-walk'")],
)
def test_an_unknown_benchmark_is_answered_with_the_closest_one(name: str, near: str):
    with pytest.raises(UsageError) as caught:
        find_benchmark(name)
    assert near in str(caught.value.hint)
    assert caught.value.exit_code == ExitCode.CONFIG


def test_a_run_that_ends_before_the_published_curve_begins_is_not_started():
    with pytest.raises(UsageError, match="published curve begins, at 30,000 env frames"):
        benchmark_configs(find_benchmark("v2-dmc-walker-walk"), [0], ["run.env_steps=20_000"])


def test_a_run_without_evaluations_is_not_started():
    with pytest.raises(UsageError, match=r"run\.eval_every is 0"):
        benchmark_configs(find_benchmark("v2-pendulum"), [0], ["run.eval_every=0"])


def test_a_seed_has_one_run():
    with pytest.raises(UsageError, match="seeds 0,0"):
        benchmark_configs(find_benchmark("v2-pendulum"), [0, 0])


def _sources(benchmark: Benchmark):
    return benchmark_configs(benchmark, [0])[0].source
