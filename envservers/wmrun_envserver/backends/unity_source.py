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

        Executables and their arguments come from the command line of the server alone: no request
        can name a file to run, or one to write to.
        """
        place = f"--env {env_id}={source}"
        try:
            words = shlex.split(source)
        except ValueError as error:
            raise SourceError(f"{place}: {error}: quote the path as for a shell") from None
        if not words:
            raise SourceError(f"{place}: expected the path of a Unity player")
        return PlayerSource((str(_executable(place, words[0])), *words[1:]))


def _executable(place: str, word: str) -> Path:
    named = Path(word).expanduser().absolute()
    files = [path for path in map(Path, (f"{named}{end}" for end in _SUFFIXES)) if path.is_file()]
    if not files:
        raise SourceError(f"{place}: there is no file {named} (nor with .x86_64 after it)")
    if not os.access(files[0], os.X_OK):
        raise SourceError(f"{place}: {files[0]} is not executable: chmod +x {files[0]}")
    return files[0]
