"""Running a learning benchmark, judging its runs, and keeping the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmrun.bench.catalogue import Benchmark
from wmrun.bench.curves import Curve, run_curve
from wmrun.bench.rules import Published, Verdict
from wmrun.config.load import load_config
from wmrun.config.schema import Config
from wmrun.errors import RunError, UsageError
from wmrun.run.directory import RunDirectory
from wmrun.run.files import write_atomically
from wmrun.tracking.mlflow_store import connect
from wmrun.tracking.warn import reason, warn

if TYPE_CHECKING:
    from rich.console import Console

    from wmrun.launch.training import Outcome


@dataclass(frozen=True)
class Judged:
    """A benchmark's runs by seed, their curves, and what the rule says of them."""

    benchmark: Benchmark
    runs: Mapping[int, RunDirectory]
    curves: Mapping[int, Curve]
    verdict: Verdict


def benchmark_configs(
    benchmark: Benchmark, seeds: Sequence[int], overrides: Sequence[str] = ()
) -> list[Config]:
    """Return the experiment of every seed.

    Raises `ConfigError` for a wrong override, and `UsageError` where the runs would leave nothing
    to judge: before anything is started.
    """
    if len(set(seeds)) < len(seeds) or not seeds:
        raise UsageError(f"seeds {','.join(map(str, seeds))}: each seed has one run")
    changes = [*benchmark.overrides, *overrides]
    configs = [load_config(benchmark.file, [*changes, f"seed={seed}"]) for seed in seeds]
    _check_length(benchmark, configs[0])
    return configs


def run_seeds(
    configs: Sequence[Config], *, console: Console, root: Path
) -> tuple[list[RunDirectory], Outcome]:
    """Train one run after the other, as `wmrun run` does; return those finished, and the last.

    What comes after a run that was stopped is not begun.
    """
    from wmrun.launch.training import start_run

    finished: list[RunDirectory] = []
    for config in configs:
        console.print(f"{config.name}, seed {config.seed}")
        outcome = start_run(config, console=console, root=root)
        if outcome.status != "FINISHED":
            break
        finished.append(outcome.run)
    return finished, outcome


def judge(benchmark: Benchmark, runs: Sequence[RunDirectory]) -> Judged:
    """Apply the benchmark's rule to finished runs of it, one for each seed.

    Raises `UsageError` for a run of something else, and `RunError` for one that did not finish or
    where nothing can be compared.
    """
    by_seed: dict[int, RunDirectory] = {}
    for run in runs:
        config = load_config(run.config_file)
        if config.name != benchmark.name:
            raise UsageError(f"{run.path} is a run of {config.name!r}, not of {benchmark.name!r}")
        _check_finished(run)
        if config.seed in by_seed:
            raise UsageError(f"{run.path} and {by_seed[config.seed].path} have the same seed")
        by_seed[config.seed] = run
    curves = {seed: run_curve(run, benchmark.rule.metric) for seed, run in by_seed.items()}
    return Judged(benchmark, by_seed, curves, benchmark.rule.judge(curves))


def to_json(judged: Judged) -> dict[str, Any]:
    """Return benchmark, rule, verdict, every run and every curve as a JSON object."""
    rule = judged.benchmark.rule
    return {
        "benchmark": judged.benchmark.name,
        "passed": judged.verdict.passed,
        "rule": rule.text,
        "published": rule.source,
        "metric": rule.metric,
        "compared": list(judged.verdict.rows),
        "runs": [_run_facts(seed, run, judged.curves[seed]) for seed, run in judged.runs.items()],
    }


def keep(judged: Judged) -> Path:
    """Write curves and verdict as JSON beside the runs, note them in MLflow, return the file."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = next(iter(judged.runs.values())).path.parent
    file = folder / f"verdict-{stamp}.json"
    write_atomically(file, json.dumps(to_json(judged), indent=2) + "\n")
    for run in judged.runs.values():
        _note_in_mlflow(judged, run, file)
    return file


def minutes(run: RunDirectory) -> float | None:
    """Return the wall time from the start of a run to its end; pauses before a resume count."""
    record = run.read_record()
    if "ended" not in record:
        return None
    begin, end = (datetime.fromisoformat(record[key]) for key in ("created", "ended"))
    return (end - begin).total_seconds() / 60


def _check_length(benchmark: Benchmark, config: Config) -> None:
    rule = benchmark.rule
    if rule.metric == "eval/return_mean" and config.run.eval_every == 0:
        raise UsageError(
            f"{benchmark.name} compares evaluation returns, but run.eval_every is 0",
            hint="Leave run.eval_every as it is.",
        )
    if isinstance(rule, Published):
        first = rule.curve.mean.frames[0]
        if config.run.env_steps < first:
            raise UsageError(
                f"{benchmark.name} with {config.run.env_steps:,} env steps would end before the "
                f"published curve begins, at {first:,.0f} env frames",
                hint="Set --env-steps higher.",
            )


def _check_finished(run: RunDirectory) -> None:
    status = run.read_record()["status"]
    if status != "FINISHED":
        raise RunError(
            f"{run.path} is {status}, and only finished runs are judged",
            hint=f"`wmrun resume {run.path}` goes on with a run that was stopped.",
        )


def _run_facts(seed: int, run: RunDirectory, curve: Curve) -> dict[str, Any]:
    record = run.read_record()
    return {
        "seed": seed,
        "run": str(run.path),
        "command": record.get("command"),
        "env_steps": record.get("env_steps"),
        "minutes": minutes(run),
        "device": record.get("gpu") or record.get("device"),
        "cpus": record.get("cpus"),
        "git_commit": record.get("git_commit"),
        "versions": record.get("versions"),
        "curve": {key: values.tolist() for key, values in asdict(curve).items()},
    }


def _note_in_mlflow(judged: Judged, run: RunDirectory, file: Path) -> None:
    """Add the verdict to the run's page as tags, a metric and a file, if it is in MLflow."""
    record = run.read_record()
    if "mlflow_run_id" not in record:
        return
    config = load_config(run.config_file)
    run_id, passed = record["mlflow_run_id"], judged.verdict.passed
    try:
        client, _ = connect(record["mlflow_uri"], config.tracking.experiment or config.name)
        client.set_tag(run_id, "wmrun.benchmark", judged.benchmark.name)
        client.set_tag(run_id, "wmrun.benchmark.verdict", "pass" if passed else "fail")
        client.set_tag(run_id, "wmrun.benchmark.rule", judged.benchmark.rule.text)
        client.log_metric(run_id, "benchmark/passed", float(passed), step=record["env_steps"])
        client.log_artifact(run_id, str(file), "benchmark")
    except Exception as error:
        warn(f"MLflow does not take the verdict ({reason(error)}); it is in {file}")
