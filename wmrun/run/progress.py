"""Signs of life: a progress bar on a terminal, plain lines elsewhere, in every phase of a run."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from wmrun.run.ticker import Ticker
from wmrun.run.tracker import Counters

PLAIN_INTERVAL_S = 15.0
BAR_INTERVAL_S = 1.0
RATE_WINDOW_S = 60.0
"""Rates and ETA are those of the last minute: prefill is far faster than training."""


class RunProgress:
    """Shows phase, steps, rates and ETA from a thread of its own, so a long phase is never silent.

    On a terminal it is a live bar; otherwise a line every 15 s, beginning with the elapsed time.
    """

    def __init__(self, total_env_steps: int, *, console: Console) -> None:
        self.console = console
        self._total = total_env_steps
        self._started = time.monotonic()
        self._phase = "starting"
        self._counters = Counters(0, 0, 0)
        self._shown: Mapping[str, float] = {}
        self._history = deque([(self._started, self._counters)])
        self._bar = self._make_bar() if console.is_terminal else None
        self._ticker = (
            Ticker(self._print_line, PLAIN_INTERVAL_S)
            if self._bar is None
            else Ticker(self._refresh_bar, BAR_INTERVAL_S)
        )

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
        self._ticker.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ticker.__exit__()
        if self._bar is not None:
            self._bar.stop()

    def phase(self, name: str) -> None:
        """Name what the run is doing now, e.g. "evaluating"."""
        self._phase = name

    def advance(self, counters: Counters) -> None:
        """Note how far the run is; cheap enough for every step."""
        self._counters = counters

    def show(self, metrics: Mapping[str, float]) -> None:
        """Keep these metrics in view until others replace them."""
        self._shown = {**self._shown, **metrics}

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        with contextlib.suppress(OSError):  # a terminal that went away must not stop the run
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _print_line(self) -> None:
        self.say(f"[{clock(time.monotonic() - self._started)}] {self._phase}: {self._status()}")

    def _refresh_bar(self) -> None:
        assert self._bar is not None, "only a terminal has a bar"
        self._bar.update(
            self._bar.task_ids[0],
            completed=self._counters.env_steps,
            description=self._phase,
            status=self._status(),
        )

    def _status(self) -> str:
        """Describe steps, rates, ETA and the metrics in view."""
        now, counters = time.monotonic(), self._counters
        while len(self._history) > 1 and now - self._history[0][0] > RATE_WINDOW_S:
            self._history.popleft()
        then, before = self._history[0]
        self._history.append((now, counters))
        elapsed = max(now - then, 1e-6)
        env_rate = (counters.env_steps - before.env_steps) / elapsed
        parts = [
            f"{counters.env_steps:,}/{self._total:,} env steps",
            f"{counters.updates:,} updates",
            f"{env_rate:.0f} env steps/s",
            f"{(counters.updates - before.updates) / elapsed:.1f} updates/s",
        ]
        if env_rate > 0:
            parts.append(f"ETA {clock((self._total - counters.env_steps) / env_rate)}")
        parts += [f"{name} {value:.4g}" for name, value in self._shown.items()]
        return ", ".join(parts)

    def _make_bar(self) -> Progress:
        bar = Progress(
            TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16, table_column=Column(min_width=16)),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(min_width=7, no_wrap=True)),
            # Only this column gives way on a narrow terminal.
            TextColumn(
                "{task.fields[status]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=self.console,
            expand=True,
        )
        bar.add_task(self._phase, total=self._total, status="")
        return bar


def clock(seconds: float) -> str:
    """Write a duration as h:mm:ss."""
    return str(timedelta(seconds=int(seconds)))
