"""docs/failures.md against what there is."""

from __future__ import annotations

from tests.named_tests import missing, named_tests


def test_every_test_that_the_page_names_exists() -> None:
    named = named_tests("failures.md")
    assert len(named) > 40
    assert missing(named) == []
