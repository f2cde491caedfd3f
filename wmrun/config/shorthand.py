"""Sections that may be written as one word: `device: cpu`, `agent: dreamer_v3`."""

from __future__ import annotations

from wmrun.config.tree import Entry, Mapping, Scalar

MEANT: dict[str, str] = {"device": "name", "agent": "type"}
"""The key inside a section that its one word stands for."""


def written_out(tree: Mapping) -> Mapping:
    """Return an experiment's tree with every such word in its section: `device: {name: cpu}`."""
    entries = dict(tree.entries)
    for section, key in MEANT.items():
        entry = entries.get(section)
        if entry is not None and isinstance(entry.value, Scalar) and entry.value.value is not None:
            place = entry.value.place
            entries[section] = Entry(entry.key, Mapping({key: Entry(place, entry.value)}, place))
    return Mapping(entries, tree.place)
