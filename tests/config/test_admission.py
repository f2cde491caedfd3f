"""What types admit."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from wmrun.config.admission import members
from wmrun.config.schema import NullRemoves


@pytest.mark.parametrize(
    ("annotation", "removes"),
    [
        (dict[str, float], True),
        (dict[str, float | None], False),
        (dict[str, Any], False),
        (Annotated[dict[str, Any], NullRemoves()], True),
        (Any, False),
    ],
)
def test_null_stands_for_no_entry_where_it_is_no_value(annotation: Any, removes: bool) -> None:
    (member,) = members(annotation)
    assert member.null_removes is removes
