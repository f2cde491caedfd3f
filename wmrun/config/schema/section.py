"""What every section of an experiment is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Seconds = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Form:
    """The pattern of a string, and the words for it in messages."""

    pattern: str
    words: str
    examples: tuple[str, ...] = ()
    """Values to suggest to those who come close."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.str_schema(pattern=self.pattern)


@dataclass(frozen=True)
class Located:
    """Marks a string that is a path where `pattern` matches, relative to the file that sets it."""

    pattern: str


@dataclass(frozen=True)
class NullRemoves:
    """Marks a mapping of anything from which null takes the entry that a base has set."""


class Section(BaseModel):
    """A mapping of an experiment file: frozen, typed strictly, without room for unknown keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def conflict(key: str, message: str) -> PydanticCustomError:
    """Return the error of a section in which the value of `key` is at odds with another."""
    return PydanticCustomError("conflict", "{message}", {"key": key, "message": message})
