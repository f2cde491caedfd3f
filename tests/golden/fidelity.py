"""What the golden tests compared, for docs/fidelity.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

TITLE = """\
# Fidelity: Dreamer V1, V2 and V3 against the original code

Written by `make fidelity`, that is

    OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests/golden --fidelity docs/fidelity.md

It runs our modules and agents on the weights, inputs and samples in `tests/golden/` and compares
them with what the original code made of these. `tests/golden/README.md` says what is compared.

- **read**: arrays of the archive that a test used, as input or to compare with.
- **comparisons**, **numbers**: arrays compared, some more than once, and the numbers in them.
- **relative**: the largest difference, as a share of the largest number of the same array.
- **of tolerance**: the largest difference, as a share of what its test allows: above 1, it fails.
"""


@dataclass
class _Record:
    held: frozenset[str] = frozenset()
    read: set[str] = field(default_factory=set)
    comparisons: int = 0
    numbers: int = 0
    relative: float = 0.0
    of_tolerance: float = 0.0


_records: dict[str, _Record] = {}
_newest: list[str] = []
"""The archive that was read last; what is compared next comes from it."""


def opened(archive: str, arrays: Iterable[str]) -> None:
    """Note which arrays an archive holds."""
    _records.setdefault(archive, _Record()).held = frozenset(arrays)


def read(archive: str, array: str) -> None:
    """Note that a test asked for an array."""
    _records[archive].read.add(array)
    _newest[:] = [archive]


def compared(ours: np.ndarray, official: np.ndarray, absolute: float, relative: float) -> None:
    """Note a comparison with numbers of the archive that was read last."""
    record = _records[_newest[0]]
    official = official.astype(np.float64)
    difference = np.abs(ours.astype(np.float64) - official)
    record.comparisons += 1
    record.numbers += official.size
    if not difference.size or not difference.any():
        return
    size, allowed = np.abs(official), absolute + relative * np.abs(official)
    if size.max() > 0:
        record.relative = max(record.relative, float(difference.max() / size.max()))
    used = np.divide(difference, allowed, out=np.full_like(difference, np.inf), where=allowed > 0)
    record.of_tolerance = max(record.of_tolerance, float(used[difference > 0].max()))


def table() -> str:
    """Return docs/fidelity.md."""
    head = "| archive | arrays | read | comparisons | numbers | relative | of tolerance |"
    rows = [head, "|---|---|---|---|---|---|---|"]
    rows += [_row(name, record) for name, record in sorted(_records.items())]
    return f"{TITLE}\n" + "\n".join([*rows, "", _unread(), ""])


def _row(name: str, record: _Record) -> str:
    counts = (len(record.held), len(record.read), record.comparisons, record.numbers)
    cells = [f"`{name}`", *(f"{count:,}" for count in counts)]
    return (
        "| " + " | ".join([*cells, f"{record.relative:.1g}", f"{record.of_tolerance:.1g}"]) + " |"
    )


def _unread() -> str:
    rest = {name: sorted(record.held - record.read) for name, record in sorted(_records.items())}
    if not any(rest.values()):
        return "Every array of every archive is read."
    listed = [
        f"- `{name}`: {', '.join(f'`{a}`' for a in left)}" for name, left in rest.items() if left
    ]
    title = "Arrays that no test reads; `tests/golden/README.md` says why:"
    return "\n".join([title, "", *listed])
