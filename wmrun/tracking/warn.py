"""How trackers report trouble: one line on stderr, and the run goes on."""

from __future__ import annotations

from rich.console import Console


def warn(text: str) -> None:
    """Print a warning on stderr, above a progress bar if one is shown."""
    Console(stderr=True).print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def reason(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
