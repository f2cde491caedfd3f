"""Everything that is wrong with a configuration, told at once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wmrun.config.scalars import write_float
from wmrun.config.tree import Place
from wmrun.errors import ExitCode, WmrunError

EXCERPT_WIDTH = 100
"""Characters of a source line that an excerpt shows at most, around the offending part."""


@dataclass(frozen=True)
class Problem:
    """One mistake, and where it was made."""

    path: str
    """The key, dotted from the top, such as `agent.encoder.depth`; empty for a whole file."""
    message: str
    file: str
    """The file as the user would write it, or `command line, argument 2`."""
    line: int | None
    column: int | None
    """Both from 1; None where the file itself is the problem. Arguments have a column only."""
    excerpt: str
    """The source line and a line of carets under the offending part."""
    expected: str | None = None
    suggestion: str | None = None
    """What was most likely meant."""

    def __str__(self) -> str:
        place = (self.file, self.line, self.column) if self.line else (self.file,)
        where = ":".join(str(part) for part in place)
        subject = f"{self.path}: " if self.path else ""
        lines = [f"{where}: {subject}{self.message}", *self.excerpt.splitlines()]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.suggestion is not None:
            lines.append(f"  did you mean: {self.suggestion}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the problem as a JSON object."""
        return asdict(self)


class ConfigError(WmrunError):
    """An experiment file, what it extends, or an override is wrong: every problem in one error."""

    exit_code = ExitCode.CONFIG

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        blocks = "\n\n".join(str(problem) for problem in self.problems)
        super().__init__(f"{subject} has {count}\n\n{blocks}")


class ProblemLog:
    """Collects problems while a configuration is read and checked; each is kept once."""

    def __init__(self) -> None:
        self._problems: dict[Problem, int] = {}
        self.has_gaps = False
        """Whether content could not be read at all, so that a key may only seem to be missing."""

    def __len__(self) -> int:
        return len(self._problems)

    def add(
        self,
        place: Place,
        path: str,
        message: str,
        *,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        """Record a problem with the text at `place`."""
        in_file = place.source.path is not None
        problem = Problem(
            path=path,
            message=message,
            file=place.source.name,
            line=place.line if in_file else None,
            column=place.column,
            excerpt=excerpt(place),
            expected=expected,
            suggestion=suggestion,
        )
        self._problems[problem] = place.source.argument

    def add_missing_file(self, name: str, message: str, suggestion: str | None) -> None:
        """Record that a file named on the command line cannot be read."""
        problem = Problem("", message, name, None, None, "", suggestion=suggestion)
        self._problems[problem] = 0

    def sorted(self) -> tuple[Problem, ...]:
        """Return the problems of each file from top to bottom, then those of arguments in order."""
        files = list(dict.fromkeys(problem.file for problem in self._problems))

        def rank(item: tuple[Problem, int]) -> tuple[int, int, int, int]:
            problem, argument = item
            return argument, files.index(problem.file), problem.line or 0, problem.column or 0

        return tuple(problem for problem, _ in sorted(self._problems.items(), key=rank))


def excerpt(place: Place) -> str:
    """Return the line at `place` under its number, and carets under the part that is meant.

    Lines longer than `EXCERPT_WIDTH` characters are cut around that part.
    """
    line = place.source.line(place.line)
    number = f"{place.line} " if place.source.path is not None else ""
    start = place.column - 1
    first = max(0, start - EXCERPT_WIDTH // 2) if len(line) > EXCERPT_WIDTH else 0
    shown = line[first : first + EXCERPT_WIDTH]
    margin = "".join("\t" if char == "\t" else " " for char in line[first:start])
    carets = "^" * max(1, min(place.length, first + len(shown) - start))
    return f"  {number}| {shown}\n  {' ' * len(number)}| {margin}{carets}"


def quoted(value: Any) -> str:
    """Return a scalar as messages show it: in YAML's words, strings quoted, long ones shortened."""
    plain = isinstance(value, float) and not math.isfinite(value)
    text = write_float(value) if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f'{text[:57]}…"'
