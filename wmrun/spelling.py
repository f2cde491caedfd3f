"""The candidate that a misspelt word most likely stands for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was most likely meant to be, or None when none is near.

    Near means at most two edits away (of long words: one in three characters), or the only one to
    share all of `word`'s underscore-separated parts, or alike overall.
    """
    candidates = sorted(set(candidates))
    folded = _fold(word)
    near = [c for c in candidates if edits(folded, _fold(c)) <= _allowed_edits(folded)]
    if near:
        return min(near, key=lambda c: (edits(folded, _fold(c)), -_likeness(folded, _fold(c))))
    parts = set(folded.split("_"))
    sharing = [c for c in candidates if parts <= set(_fold(c).split("_"))]
    if len(sharing) == 1:
        return sharing[0]
    alike = [c for c in candidates if _likeness(folded, _fold(c)) >= 0.75]
    return max(alike, key=lambda c: _likeness(folded, _fold(c))) if alike else None


def edits(a: str, b: str) -> int:
    """Return the optimal string alignment distance: insert, delete, replace, swap neighbours."""
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")


def _allowed_edits(word: str) -> int:
    # Two edits turn any two-letter word into any other: something of the word must remain.
    return min(max(2, len(word) // 3), len(word) - 1)


def _likeness(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b).ratio()
