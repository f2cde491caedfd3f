"""The names that a misspelt one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return " Did you mean x, y or z?" with the closest candidates, or "" where none is near."""
    by_folded = {_fold(candidate): candidate for candidate in candidates}
    near = get_close_matches(_fold(word), by_folded, n=3, cutoff=0.7)
    if not near:
        return ""
    *others, last = (by_folded[match] for match in near)
    return f" Did you mean {', '.join(others)} or {last}?" if others else f" Did you mean {last}?"


def _fold(word: str) -> str:
    return word.lower().replace("_", "-").replace("/", "-")
