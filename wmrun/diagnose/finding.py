"""What a check found, in a form that a person and a script can act on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or, as a `note`, worth knowing.

    `name` is stable and in kebab-case: scripts match on it, `--allow` takes it.
    """

    name: str
    message: str
    hint: str = ""
    is_note: bool = False

    def to_json(self) -> dict[str, str | bool]:
        return {
            "name": self.name,
            "message": self.message,
            "hint": self.hint,
            "is_note": self.is_note,
        }
