"""Which player an env id stands for: an executable with its arguments, or a running Editor."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from wmrun_envserver.backends.base import SourceError

EDITOR = "editor"
EDITOR_PORT = 5004
"""Where the Editor connects to; it cannot be told another."""

# What a Linux build is called; the name may be given without.
_SUFFIXES = ("", ".x86_64", ".x86")


@dataclass(frozen=True)
class PlayerSource:
    """What to run for each simulator; an empty `command` waits for the Editor's Play button."""

    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call the player."""
        return Path(self.command[0]).name if self.command else "the Editor"

    @staticmethod
    def parse(env_id: str, source: str) -> PlayerSource:
        """Read "PATH [ARGUMENT …]", quoted as for a shell. Raises `SourceError`.

        A path with spaces needs no quotes where it names a file. Executables and their arguments
        come from the command line of the server alone: no request can name a file to run, or one to
        write to.
        """
        place = f"--env {env_id}={source}"
        try:
            words = _words(source)
        except ValueError as error:
            raise SourceError(f"{place}: {error}: quote the path as for a shell") from None
        if not words:
            raise SourceError(f"{place}: expected the path of a Unity player")
        file = _file(words[0])
        if file is None:
            missing = Path(words[0]).expanduser().absolute()
            raise SourceError(f"{place}: there is no file {missing} (nor with .x86_64 after it)")
        if not os.access(file, os.X_OK):
            raise SourceError(f"{place}: {file} is not executable: chmod +x {shlex.quote(file)}")
        return PlayerSource((file, *words[1:]))


def _words(source: str) -> list[str]:
    words = shlex.split(source)
    if words and _file(words[0]) is None:
        for space in [len(source), *(i for i, c in reversed([*enumerate(source)]) if c == " ")]:
            if _file(source[:space]) is not None:
                return [source[:space], *shlex.split(source[space:])]
    return words


def _file(word: str) -> str | None:
    named = str(Path(word).expanduser().absolute())
    return next((named + end for end in _SUFFIXES if Path(named + end).is_file()), None)
