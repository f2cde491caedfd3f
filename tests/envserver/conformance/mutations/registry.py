"""How a mutation says which check must notice it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.envserver.conformance.proxy import Mutation


class Broken(NamedTuple):
    """A way to be wrong: which check must fail, and what its report must say."""

    check: int
    words: str
    make: Callable[[], Mutation]
    """A fresh mutation; what it remembers is its own."""

    @property
    def id(self) -> str:
        return f"{self.check:02}-{self.make.__name__}"


_BROKEN: list[Broken] = []


def all_broken() -> list[Broken]:
    """Return every mutation, by the number of its check."""
    return sorted(_BROKEN, key=lambda way: way.check)


def breaks(check: int, words: str) -> Callable[[Mutation], Mutation]:
    """Register a mutation without memory."""

    def register(mutation: Mutation) -> Mutation:
        def make() -> Mutation:
            return mutation

        make.__name__ = mutation.__name__
        _BROKEN.append(Broken(check, words, make))
        return mutation

    return register


def remembers(check: int, words: str) -> Callable[[type], type]:
    """Register a class whose instances are mutations."""

    def register(kind: type) -> type:
        def make() -> Mutation:
            return kind()  # type: ignore[no-any-return]

        make.__name__ = kind.__name__
        _BROKEN.append(Broken(check, words, make))
        return kind

    return register
