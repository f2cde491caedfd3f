"""Whether counts of draws fit the probabilities that a rule says."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

Z_999 = 3.0902
"""The 99.9 % quantile of the normal distribution."""


def assert_drawn_with(
    counts: Mapping[Hashable, int], probabilities: Mapping[Hashable, float]
) -> None:
    """Pearson's chi-square test at 0.1 %, its bound after Wilson and Hilferty (1931)."""
    assert abs(sum(probabilities.values()) - 1) < 1e-9
    assert counts.keys() <= probabilities.keys(), "drawn although its probability is 0"
    draws, freedom = sum(counts.values()), len(probabilities) - 1
    assert min(probabilities.values()) * draws >= 5, "too few draws for this test"
    statistic = sum(
        (counts.get(key, 0) - draws * p) ** 2 / (draws * p) for key, p in probabilities.items()
    )
    spread = 2 / (9 * freedom)
    assert statistic < freedom * (1 - spread + Z_999 * spread**0.5) ** 3
