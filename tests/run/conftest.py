from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.run.loop import Loop, build_loop, open_driver
from wmrun.envs.driver import Driver


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    yield from open_driver(tmp_path_factory.mktemp("logs"), "train")


@pytest.fixture(scope="module")
def eval_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    yield from open_driver(tmp_path_factory.mktemp("logs"), "eval")


@pytest.fixture
def make_loop(driver: Driver, eval_driver: Driver, tmp_path: Path) -> Callable[..., Loop]:
    """Builds a loop in the test's folder; the next one there goes on with its replay."""
    return partial(build_loop, driver, eval_driver, tmp_path / "run")
