"""`wmrun bench learn NAME`: train a named benchmark and compare it with what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmrun.cli.output import print_json, print_table, talk
from wmrun.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from wmrun.bench.catalogue import Benchmark
    from wmrun.bench.learn import Judged
    from wmrun.run.directory import RunDirectory


def bench_learn_cli(
    name: Annotated[
        str | None, typer.Argument(help="The benchmark, see --list.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides such as env.num_envs=8.", show_default=False),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, one run each, one after the other.")] = "0,1",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    env_steps: Annotated[
        int | None, typer.Option(min=1, help="Env steps per run; default: the benchmark's.")
    ] = None,
    judged: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            metavar="RUN",
            help="Judge this finished run of the benchmark, and others given like it, instead of "
            "training: for seeds that ran side by side or were resumed.",
        ),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: Annotated[Path, typer.Option(help="Folder of all run directories.")] = Path("runs"),
) -> None:
    """Train a named benchmark, one run per seed, and say whether it learns as it should.

    Curves are compared with published ones at the same env frames, or with a threshold. Curves and
    verdict are written beside the runs as JSON and noted in MLflow. Exit code 0: passed; 6: failed.
    """
    if show_list:
        _print_list(as_json=as_json)
        return
    if name is None:
        raise UsageError("which benchmark?", hint="`wmrun bench learn --list` lists what there is")
    from wmrun.bench.catalogue import find_benchmark
    from wmrun.bench.learn import judge, keep, to_json

    benchmark = find_benchmark(name)
    options = {"device": device, "run.env_steps": env_steps}
    changes = [f"{key}={value}" for key, value in options.items() if value is not None]
    finished = (
        _find(judged, runs)
        if judged
        else _train(benchmark, read_seeds(seeds), [*(overrides or ()), *changes], runs)
    )
    result = judge(benchmark, finished)
    file = keep(result)
    if as_json:
        print_json(to_json(result))
    else:
        _print(result, to_json(result)["runs"], file)
    raise typer.Exit(ExitCode.OK if result.verdict.passed else ExitCode.BENCHMARK)


def read_seeds(text: str) -> list[int]:
    """Return the seeds of `0,1,2`. Raises `UsageError` for anything else."""
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--seeds is {text!r}, which is not a list of integers",
            hint="Write them with commas: --seeds 0,1,2",
        ) from None


def _find(references: Sequence[str], root: Path) -> list[RunDirectory]:
    from wmrun.run.directory import find_run

    return [find_run(reference, root=root) for reference in references]


def _train(
    benchmark: Benchmark, seeds: Sequence[int], overrides: Sequence[str], root: Path
) -> list[RunDirectory]:
    from wmrun.bench.learn import benchmark_configs, run_seeds

    console = talk()
    configs = benchmark_configs(benchmark, seeds, overrides)
    finished, last = run_seeds(configs, console=console, root=root)
    if len(finished) < len(configs):
        console.print(f"\nno verdict: {last.run.path} was stopped", soft_wrap=True)
        console.print(
            f"`wmrun resume {last.run.path}` goes on; `wmrun bench learn {benchmark.name} "
            "--judge RUN` judges runs that are finished",
            soft_wrap=True,
        )
        raise typer.Exit(last.exit_code)
    return finished


def _print(judged: Judged, runs: Sequence[Mapping[str, Any]], file: Path) -> None:
    rule, verdict = judged.benchmark.rule, judged.verdict
    print_table(
        [name.replace("_", " ") for name in verdict.rows[0]],
        [[_cell(value) for value in row.values()] for row in verdict.rows],
    )
    typer.echo()
    facts = ("seed", "env_steps", "minutes", "device", "run")
    print_table(
        [name.replace("_", " ") for name in facts],
        [[_cell(run[name]) for name in facts] for run in runs],
    )
    typer.echo(f"\n{'pass' if verdict.passed else 'fail'}: {judged.benchmark.name}")
    typer.echo(f"rule: {rule.text}")
    if rule.source is not None:
        typer.echo(f"published: {rule.source}")
    typer.echo(str(file))


def _print_list(*, as_json: bool) -> None:
    from wmrun.bench.catalogue import BENCHMARKS

    rows: list[Mapping[str, Any]] = [
        {"benchmark": name, "experiment": item.file.stem, "passes when it": item.rule.brief}
        for name, item in BENCHMARKS.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
