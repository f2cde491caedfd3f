"""The keys that a mapping may have: the fields of a section or the options of a component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wmrun.config.admission import members, words
from wmrun.config.schema import Section
from wmrun.registry import Option


@dataclass(frozen=True)
class Key:
    """One key: what its value may be, whether it must be there, what it means."""

    annotation: Any
    marks: tuple[Any, ...]
    required: bool
    help: str

    @property
    def section(self) -> type[Section] | None:
        """The section that the value must be, where it can be nothing else."""
        alternatives = members(self.annotation, self.marks)
        only = alternatives[0] if len(alternatives) == 1 else None
        return only.type if only is not None and only.is_section else None

    @property
    def expected(self) -> str:
        """What a file should have here, as in `an integer >= 1: env steps to train for`."""
        admitted = words(self.annotation, self.marks)
        return f"{admitted}: {_continue(self.help)}" if self.help else admitted


def section_keys(section: type[Section]) -> dict[str, Key]:
    """Return the keys of a section by name."""
    return {
        name: Key(
            field.annotation, tuple(field.metadata), field.is_required(), field.description or ""
        )
        for name, field in section.model_fields.items()
    }


def option_keys(options: tuple[Option, ...]) -> dict[str, Key]:
    """Return the keys of a component by name: its `type` and its options."""
    keys = {option.name: Key(option.type, (), option.required, option.help) for option in options}
    return {"type": Key(str, (), True, "the registered name"), **keys}


def _continue(sentence: str) -> str:
    """Return a sentence as the end of another one."""
    first, _, rest = sentence.partition(" ")
    first = first if any(char.isupper() for char in first[1:]) else first[:1].lower() + first[1:]
    return f"{first} {rest}".rstrip(". ")
