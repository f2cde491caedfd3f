"""How rows and their slots are told."""

from __future__ import annotations

import pytest

from wmrun.envs.rows import SlotFailure, name_slots


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ((3,), "slot 3"),
        ((0, 1), "slots 0, 1"),
        ((0, 1, 2), "slots 0 to 2"),
        ((0, 1, 2, 3, 7, 9, 10), "slots 0 to 3, 7, 9, 10"),
    ],
)
def test_slots_are_named_alike_everywhere(slots: tuple[int, ...], words: str) -> None:
    assert name_slots(slots) == words
    assert str(SlotFailure(slots, "ENV_FAILED", "boom")) == f"environment {words} restarted: boom"
