"""What the values of arguments are made into; each raises `argparse.ArgumentTypeError`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any


def source(text: str) -> tuple[str, str]:
    """Return the id and the source of `ID=SOURCE`."""
    env_id, separator, place = text.partition("=")
    if not (env_id and separator and place):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not ID=SOURCE, such as reach=my_package.envs:make_reach"
        )
    return env_id, place


class AddSource(argparse.Action):
    """Gathers what `source` returned into a dict by id; one id has one source."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(values, tuple)
        env_id, place = values
        sources: dict[str, str] = getattr(namespace, self.dest)
        if env_id in sources:
            raise argparse.ArgumentError(
                self,
                f"{env_id!r} is given twice, as {sources[env_id]} and as {place}: give each an id "
                "of its own",
            )
        setattr(namespace, self.dest, {**sources, env_id: place})


def pattern(text: str) -> str:
    """Return a glob that an env id may match."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text!r} matches no env id: expected printable characters, as 'walker_*'"
        )
    return text


def workers(text: str) -> int | None:
    """Return a number of processes, None for "auto"."""
    if text == "auto":
        return None
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of processes")
    return int(text)


def descriptor(text: str) -> int:
    """Return a file descriptor that is open."""
    try:
        fd = int(text)
        os.fstat(fd)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file descriptor") from None
    except (OSError, OverflowError):
        raise argparse.ArgumentTypeError(f"file descriptor {text} is not open") from None
    return fd


def count(text: str) -> int:
    """Return a whole number, 0 included."""
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of times")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not _is_number(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def message_mb(text: str) -> int:
    """Return a number of MiB that a gRPC message may have."""
    size = positive(text)
    if size > 1024:
        raise argparse.ArgumentTypeError(f"{text} MiB: a gRPC message may have at most 1024")
    return size


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
