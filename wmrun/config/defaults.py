"""Options that a file leaves out, with the place in the component's source that sets them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from wmrun.config.extends import display_name
from wmrun.config.tree import Entry, Place, Source, from_plain, merge
from wmrun.registry import Option


def with_default(option: Option, entry: Entry | None) -> Entry | None:
    """Return what is set for an option on top of its default, or None where there is neither."""
    if option.required:
        return entry
    place = _default_place(option)
    default = from_plain(option.default, place)
    if entry is None:
        return Entry(place, default)
    return Entry(entry.key, merge(default, entry.value))


def _default_place(option: Option) -> Place:
    if option.path is None:
        return Place(Source("the component's constructor", ""), 1, 1)
    source = _python_source(option.path)
    column = source.line(option.line).find(option.name) + 1
    return Place(source, option.line, max(1, column), len(option.name))


@cache
def _python_source(path: Path) -> Source:
    return Source(display_name(path), path.read_text(encoding="utf-8"), path)
