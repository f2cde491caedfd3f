"""An experiment file to a checked `Config`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wmrun.config.extends import FileReader, display_name
from wmrun.config.overrides import read_overrides
from wmrun.config.problems import ConfigError, ProblemLog
from wmrun.config.schema import Config
from wmrun.config.tree import Mapping, merge
from wmrun.config.validation import Validator


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Return the experiment of a YAML file, with what it extends and `key.path=value` overrides.

    Reads files only: no component is imported. Raises `ConfigError` with every problem found.
    """
    path = Path(path)
    log = ProblemLog()
    reader = FileReader(log)
    tree = reader.read(path)
    over = read_overrides(overrides, log)
    config = None
    if tree is not None:
        merged = merge(tree, over)
        assert isinstance(merged, Mapping)
        config = Validator(log, top=tree.place).config(merged)
    if config is None or len(log):
        raise ConfigError(display_name(path), log.sorted())
    config._source = reader.files
    return config
