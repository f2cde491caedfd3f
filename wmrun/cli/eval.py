"""`wmrun eval RUN`: play episodes with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmrun.cli.output import talk

if TYPE_CHECKING:
    from wmrun.launch.evaluation import EvaluatedRun

HEARTBEAT_S = 10.0


def eval_cli(
    run: Annotated[
        str,
        typer.Argument(help="Run directory, run id, or experiment name (its newest run)."),
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to play.")] = 10,
    checkpoint: Annotated[
        str, typer.Option(help="last, best, or a checkpoint's env step or folder name.")
    ] = "last",
    video: Annotated[bool, typer.Option("--video", help="Write one episode as an mp4.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of environments and latents; default: the run's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    runs: Annotated[Path, typer.Option(help="Folder of all run directories.")] = Path("runs"),
) -> None:
    """Play episodes with the policy's mode and print mean, standard deviation and every return."""
    result = evaluate(
        run, episodes=episodes, checkpoint=checkpoint, video=video, seed=seed, runs=runs
    )
    typer.echo(_json(result) if as_json else _text(result))


def evaluate(
    reference: str,
    *,
    episodes: int = 10,
    checkpoint: str = "last",
    video: bool = False,
    seed: int | None = None,
    runs: Path = Path("runs"),
) -> EvaluatedRun:
    """Find the run, load the checkpoint and play."""
    from wmrun.launch.evaluation import evaluate_run
    from wmrun.run.directory import find_run
    from wmrun.run.ticker import Ticker

    found = find_run(reference, root=runs)
    console = talk()
    console.print(f"evaluating {found.path}", soft_wrap=True)
    played = (0, 0)

    def watch(finished: int, steps: int) -> None:
        nonlocal played
        played = (finished, steps)

    def tick() -> None:
        console.print(f"{played[0]} of {episodes} episodes finished, {played[1]:,} agent steps")

    with Ticker(tick, HEARTBEAT_S):
        return evaluate_run(
            found,
            checkpoint=checkpoint,
            episodes=episodes,
            video=video,
            overrides=[] if seed is None else [f"seed={seed}"],
            watch=watch,
            say=lambda text: console.print(text, markup=False, soft_wrap=True),
        )


def _text(result: EvaluatedRun) -> str:
    metrics = result.evaluation.metrics()
    lines = [
        f"checkpoint  {result.env_steps:,} env steps",
        f"episodes    {len(result.evaluation.episodes)}",
        f"return      {metrics['eval/return_mean']:.2f} ± {metrics['eval/return_std']:.2f}",
        f"returns     {' '.join(f'{value:.1f}' for value in result.evaluation.returns)}",
    ]
    if result.video is not None:
        lines.append(f"video       {result.video}")
    return "\n".join(lines)


def _json(result: EvaluatedRun) -> str:
    metrics = result.evaluation.metrics()
    return json.dumps(
        {
            "run": str(result.run.path),
            "env_steps": result.env_steps,
            "return_mean": metrics["eval/return_mean"],
            "return_std": metrics["eval/return_std"],
            "returns": result.evaluation.returns,
            "lengths": [episode.length for episode in result.evaluation.episodes],
            "video": None if result.video is None else str(result.video),
        }
    )
