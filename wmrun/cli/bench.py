"""`wmrun bench env` and `wmrun bench update`: measure this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmrun.cli.output import print_json, print_table, talk
from wmrun.config.load import load_config
from wmrun.errors import UsageError

if TYPE_CHECKING:
    from wmrun.bench.env import Measured, Skipped
    from wmrun.bench.update import Timing, UpdateBench
    from wmrun.config.schema import Config
    from wmrun.envs.spec import EnvSpec

DEFAULT_AGENT = "dreamer_v3"


def bench_env_cli(
    only: Annotated[
        str, typer.Argument(help="Measure the cases with this in their name.", show_default="all")
    ] = "",
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of one round.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per case.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Batched steps through local env servers, beside the bare gRPC round trip and Gymnasium.

    What is compared is measured in turn, round by round: read the ratios, which other work on the
    machine changes least. `x as fast` is a ratio of rates, `x as long` one of times; both are
    medians over the rounds. Bare is a gRPC call with a step's bytes that nobody looks at, to a
    process that answers with the same reply every time.
    """
    from wmrun.bench.env import Measured, bench_env

    results = []
    for result in bench_env(seconds=seconds, rounds=rounds, only=only):
        results.append(result)
        said = (
            f"{result.median_ms:.3f} ms"
            if isinstance(result, Measured)
            else f"skipped: {result.why}"
        )
        talk().print(f"{result.case.name}, {result.case.slots} slots: {said}")
    if as_json:
        print_json({"cases": [_env_json(result) for result in results]})
    else:
        print_table(
            ("case", "slots", "ms per step", "env steps/s", "compared with", "ratio", "target"),
            [_env_row(result) for result in results],
        )


def bench_update_cli(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [KEY=VALUE]...",
            help="Experiment file (YAML), if any, and overrides such as replay.batch_length=64.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(help=f"Preset to time without a FILE; {DEFAULT_AGENT} where none is given."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="agent.size, such as 1m.")] = None,
    obs: Annotated[
        str | None,
        typer.Option(
            help="Observation without a FILE: vector (24 floats) or image (64x64x3); there are "
            "6 continuous actions. Default: vector."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    updates: Annotated[int, typer.Option(min=1, help="Timed updates.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Milliseconds per update of an experiment's agent, or of a preset on made-up spaces.

    Times updates on one random batch of the experiment's shape and splits them into world model,
    imagination, actor-critic, optimizer and other. The floor is the time that the update's matrix
    products and convolutions alone (forward and backward, one multiplication and one addition
    counted as two operations) would take at the rate of the best large square matrix product,
    measured here in the same process with the same threads and dtype. Elementwise operations and
    memory traffic are not in it. The ratio says how many times the floor an update takes.
    """
    file, overrides = split_arguments(arguments or ())
    options = {"agent.size": size, "device": device}
    overrides += [f"{key}={value}" for key, value in options.items() if value is not None]
    if size is not None and file is None and agent not in (None, "dreamer_v3"):
        raise UsageError(
            f"--size {size} is for dreamer_v3; {agent} has no published sizes",
            hint="Leave it out, or set widths such as agent.dynamics.deter=600.",
        )
    if file is not None and (agent is not None or obs is not None):
        raise UsageError(
            f"--agent and --obs are for a bench without a file: {file} says both",
            hint="Leave them out, or leave out the file.",
        )
    config, spec = _from_file(file, overrides) if file else _preset(agent, obs, overrides)
    from wmrun.bench.update import bench_update

    bench = bench_update(config, spec, updates=updates)
    if as_json:
        print_json(to_json(config, bench))
    else:
        _print(config, spec, bench)


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file, which is a first argument without `=`, and the overrides."""
    if arguments and "=" not in arguments[0]:
        return Path(arguments[0]), list(arguments[1:])
    return None, list(arguments)


def to_json(config: Config, bench: UpdateBench) -> dict[str, Any]:
    """Return everything that was measured as a JSON object."""
    return {
        "experiment": config.name,
        "agent": config.agent,
        "batch": [config.replay.batch_size, config.replay.batch_length],
        "device": bench.device,
        "threads": bench.threads,
        "parameters": bench.parameters,
        "ms_per_update": _summary(bench.update),
        "ms_by_phase": {name: _summary(timing) for name, timing in bench.phases.items()},
        "updates_per_s": 1000 / bench.update.median,
        "peak_bytes": bench.peak_bytes,
        "operations": {_name(dtype): n for dtype, n in bench.floor.operations.items()},
        "operations_per_s": {_name(dtype): rate for dtype, rate in bench.floor.rates.items()},
        "floor_ms": 1000 * bench.floor.seconds,
        "ratio": bench.ratio if math.isfinite(bench.ratio) else None,
    }


def _env_json(result: Measured | Skipped) -> dict[str, Any]:
    from wmrun.bench.env import Skipped

    case = result.case
    named = {"case": case.name, "slots": case.slots}
    if isinstance(result, Skipped):
        return {**named, "skipped": result.why}
    return {
        **named,
        "ms_per_step": result.ms,
        "env_steps_per_s": result.env_steps_per_s,
        "baseline": case.baseline_name or None,
        "baseline_ms_per_step": result.baseline_ms,
        "ratio_of": case.ratio_of if case.baseline_name else None,
        "ratio": result.ratio,
        "target": None if case.target is None else str(case.target),
        "target_met": result.is_met,
    }


def _env_row(result: Measured | Skipped) -> tuple[str, ...]:
    from wmrun.bench.env import Skipped

    case = result.case
    if isinstance(result, Skipped):
        return case.name, str(case.slots), "", "", "", "", f"skipped: {result.why}"
    ratio = ""
    if result.ratio is not None:
        ratio = f"{result.ratio:.2f} x as {'fast' if case.ratio_of == 'rate' else 'long'}"
    target = ""
    if case.target is not None:
        target = f"{case.target}: {'met' if result.is_met else 'missed'}"
    return (
        case.name,
        str(case.slots),
        f"{result.median_ms:.3f}",
        f"{result.env_steps_per_s:,.0f}",
        case.baseline_name,
        ratio,
        target,
    )


def _from_file(file: Path, overrides: Sequence[str]) -> tuple[Config, EnvSpec]:
    config = load_config(file, overrides)
    from wmrun.bench.update import env_spec

    return config, env_spec(config)


def _preset(agent: str | None, obs: str | None, overrides: Sequence[str]) -> tuple[Config, EnvSpec]:
    from wmrun.bench.synthetic import known_observation, preset_config, synthetic_spec

    observation = known_observation(obs or "vector")
    config = preset_config(agent or DEFAULT_AGENT, observation, overrides)
    return config, synthetic_spec(observation)


def _print(config: Config, spec: EnvSpec, bench: UpdateBench) -> None:
    from wmrun.replay.disk import format_bytes

    observations = ", ".join(f"{k} {list(leaf.shape)}" for k, leaf in spec.obs_space.items())
    size = f" {config.agent['size']}" if config.agent.get("size") else ""
    typer.echo(
        f"{config.agent['type']}{size}, {bench.parameters:,} parameters, {observations}, "
        f"batch {config.replay.batch_size} x {config.replay.batch_length}, "
        f"{bench.device}, {bench.threads} {'thread' if bench.threads == 1 else 'threads'}\n"
    )
    rows = {"update": bench.update, **bench.phases}
    whole = sum(timing.median for timing in bench.phases.values())
    print_table(
        ("phase", "ms (median)", "min", "max", "share"),
        [
            (
                name.replace("_", " "),
                *(f"{ms:.1f}" for ms in (timing.median, timing.min, timing.max)),
                "" if name == "update" else f"{timing.median / whole:.0%}",
            )
            for name, timing in rows.items()
        ],
    )
    floor = bench.floor
    rates = (f"{rate / 1e9:,.0f} GFLOP/s {_name(dtype)}" for dtype, rate in floor.rates.items())
    typer.echo()
    print_table(
        ("updates/s", "peak memory", "operations", "matrix products", "floor", "ratio"),
        [
            (
                f"{1000 / bench.update.median:.2f}",
                format_bytes(bench.peak_bytes),
                f"{floor.total_operations / 1e9:.2f} GFLOP",
                ", ".join(rates),
                f"{1000 * floor.seconds:.1f} ms",
                f"{bench.ratio:.2f}",
            )
        ],
    )


def _summary(timing: Timing) -> dict[str, float]:
    return {"median": timing.median, "min": timing.min, "max": timing.max}


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
