"""docs/fidelity.md is about the archives that are here."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_archive_is_compared_with() -> None:
    text = (HERE.parents[1] / "docs/fidelity.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(v\d/\w+)` \| \d+ \| \d+ \| ([\d,]+) ", text, re.MULTILINE)
    files = {f"{path.parent.name}/{path.stem}" for path in HERE.glob("v*/*.npz")}
    assert {name for name, _ in rows} == files
    assert [name for name, comparisons in rows if comparisons == "0"] == []
