"""Paths named in experiment files."""

from __future__ import annotations

import os
import re

from wmrun.config.schema import Located
from wmrun.config.tree import Source


def absolute_path(text: str, located: Located, source: Source) -> str:
    """Return a path made absolute, and text that is none as it is.

    Paths are relative to the file that names them, those of overrides to the working directory.
    """
    if not re.match(located.pattern, text):
        return text
    folder = os.getcwd() if source.path is None else source.path.parent
    # Not Path.resolve: the Python of a virtual environment is a symlink, and knows it by that path.
    return os.path.abspath(os.path.join(folder, os.path.expanduser(text)))
