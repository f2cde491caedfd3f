"""Results for people, and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from wmrun_envserver.conformance.check import Check, Result

_COLORS = {"PASS": "\x1b[32m", "FAIL": "\x1b[31m", "SKIP": "\x1b[33m"}
_RESET = "\x1b[0m"


def list_checks(checks: Sequence[Check], out: TextIO) -> None:
    """Write number, name and rule of every check."""
    for check in checks:
        needs = f" [{check.needs}]" if check.needs else ""
        out.write(f"{check.number:3} {check.name:24} {check.summary}{needs}\n")


def write_result(result: Result, out: TextIO) -> None:
    """Write one line for a result, and what to know about it below."""
    status: str = result.status
    if out.isatty():
        status = f"{_COLORS[status]}{status}{_RESET}"
    check = result.check
    out.write(f"{status} {check.number:2} {check.name:24} {result.seconds:6.1f} s")
    out.write(f"  {result.why}\n" if result.why else "\n")
    if result.unmet is not None:
        out.write(f"        rule      {check.summary}\n")
        out.write(f"        field     {result.unmet.field}\n")
        out.write(f"        expected  {result.unmet.expected}\n")
        out.write(f"        got       {result.unmet.got}\n")
    for omission in result.omitted:
        out.write(f"        left out  {omission}\n")
    out.flush()


def write_summary(results: Sequence[Result], out: TextIO) -> None:
    """Write how many checks ended how."""
    counts = Counter(result.status for result in results)
    out.write(
        f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped "
        f"of {len(results)} checks\n"
    )


def write_json(results: Sequence[Result], out: TextIO) -> None:
    """Write all results as one JSON object."""
    failed = [result.check.number for result in results if result.status == "FAIL"]
    record = {"ok": not failed, "failed": failed, "checks": [r.as_json() for r in results]}
    json.dump(record, out, indent=2)
    out.write("\n")
