"""When a benchmark counts as passed: the rules, by hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from wmrun.bench import rules
from wmrun.bench.curves import Curve, PublishedCurve
from wmrun.bench.rules import Published, Threshold, common_frames
from wmrun.errors import RunError


def curve(**points: float) -> Curve:
    """Return the curve of f50=20, f150=100: 20 at frame 50, 100 at frame 150."""
    frames = [int(name[1:]) for name in points]
    return Curve(np.array(frames, float), np.array([*points.values()], float))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    """Keeping up with 0, 100 and 300 at frames 50, 150 and 250; std 10, 150 and 20."""
    theirs = PublishedCurve(
        curve(f50=0, f150=100, f250=300), curve(f50=10, f150=150, f250=20), 5, "a file", "a note"
    )
    monkeypatch.setattr(rules, "published_curve", lambda method, task: theirs)
    return Published("method", "task", "eval/return_mean", tolerance=60)


def test_curves_are_compared_at_the_frames_of_the_first_that_all_of_them_span():
    first = curve(f0=0, f100=0, f200=0, f300=0)
    assert common_frames([first, curve(f50=0, f250=0), curve(f10=0, f200=0)]).tolist() == [100, 200]


def test_both_sides_are_interpolated_and_seeds_averaged(published: Published):
    seeds = {0: curve(f0=0, f100=0, f200=100, f300=400), 1: curve(f50=20, f150=100, f250=300)}
    verdict = published.judge(seeds)
    # At 100: seeds 0 and 60, published 50 with std 80. At 200: 100 and 200, published 200 and 85.
    assert verdict.rows == (
        {
            "env_frames": 100,
            "return": 30.0,
            "std": 30.0,
            "published": 50.0,
            "published_std": 80.0,
            "at_least": -30.0,
            "holds": True,
        },
        {
            "env_frames": 200,
            "return": 150.0,
            "std": 50.0,
            "published": 200.0,
            "published_std": 85.0,
            "at_least": 115.0,
            "holds": True,
        },
    )
    assert verdict.passed


def test_the_tolerance_counts_where_the_published_seeds_hardly_differ(published: Published):
    (row,) = published.judge({0: curve(f250=239)}).rows
    assert row["at_least"] == 300 - 60
    assert not row["holds"]


@pytest.mark.parametrize(
    ("low_at", "passed"),
    [([], True), ([3], True), ([3, 4], False), ([9], False)],
    ids=["nowhere", "once", "twice", "at the last"],
)
def test_one_low_frame_in_ten_passes_unless_it_is_the_last(
    published: Published, low_at: list[int], passed: bool
):
    frames = np.linspace(60, 240, 10)
    returns = np.where(np.isin(np.arange(10), low_at), -1000.0, 1000.0)
    assert published.judge({0: Curve(frames, returns)}).passed is passed


def test_curves_without_common_frames_cannot_be_judged(published: Published):
    with pytest.raises(RunError, match="no env frames in common: 300 to 400, 50 to 250"):
        published.judge({0: curve(f300=1, f400=1)})
    with pytest.raises(RunError, match="none, 50 to 250"):
        published.judge({0: curve()})


def test_a_threshold_wants_the_best_evaluation_of_every_seed():
    rule = Threshold(-250)
    good, bad = curve(f10=-900, f20=-250, f30=-400), curve(f10=-251, f20=-900)
    verdict = rule.judge({4: good, 7: bad})
    assert not verdict.passed
    assert [(row["seed"], row["env_frames"], row["holds"]) for row in verdict.rows] == [
        (4, 20, True),
        (7, 10, False),
    ]
    assert rule.judge({4: good}).passed


def test_what_comes_after_the_budget_of_frames_does_not_count():
    rule = Threshold(600, within_frames=20)
    assert not rule.judge({0: curve(f10=500, f20=599, f30=700)}).passed
    assert rule.judge({0: curve(f10=500, f20=600)}).passed
    with pytest.raises(RunError, match="seed 0 was not evaluated by 20 env frames"):
        rule.judge({0: curve(f30=700)})


def test_a_run_without_evaluations_cannot_be_judged():
    with pytest.raises(RunError, match="seed 3 was not evaluated"):
        Threshold(0).judge({3: curve()})
