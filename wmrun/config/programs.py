"""Programs named in experiment files."""

from __future__ import annotations

import os

from wmrun.config.tree import Source


def absolute_program(name: str, source: Source) -> str:
    """Return a program with its path made absolute; a name without `/` is left to PATH.

    Paths are relative to the file that names them, those of overrides to the working directory.
    """
    if "/" not in name:
        return name
    folder = os.getcwd() if source.path is None else source.path.parent
    # Not Path.resolve: the Python of a virtual environment is a symlink, and knows it by that path.
    return os.path.abspath(os.path.join(folder, os.path.expanduser(name)))
