"""The ranges of the shipped components' options."""

from __future__ import annotations

import pytest

from tests.config.conftest import VALID, Write
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError, Problem

DREAMER = "extends: dreamer_v2\n" + VALID.replace("agent: {type: toy}\n", "")


def problems(write: Write, override: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as raised:
        load_config(write("walk.yaml", DREAMER), [override])
    return raised.value.problems


@pytest.mark.parametrize(
    ("override", "message", "expected"),
    [
        ("agent.latent.groups=0", "0 is out of range", "an integer >= 1"),
        ("agent.dynamics.deter=-1", "-1 is out of range", "an integer >= 1"),
        ("agent.dynamics.hidden=0", "0 is out of range", "an integer >= 1 or null"),
        ("agent.encoder.image.depth=0", "0 is out of range", "an integer >= 1"),
        ("agent.decoder.vector.layers=-1", "-1 is out of range", "an integer >= 0"),
        ("agent.actor.continuous.min_std=-0.1", "-0.1 is out of range", "a number >= 0"),
        ("agent.discount=2", "2 is out of range", "a number >= 0 and <= 1"),
        ("agent.imagine_horizon=1", "1 is out of range", "an integer >= 2"),
        ("agent.model_lr=-1", "-1 is out of range", "a number > 0"),
        ("agent.weight_decay=1", "1 is out of range", "a number >= 0 and < 1"),
        ("agent.loss_scales.vector=-1", "-1 is out of range", "a number >= 0"),
        ("agent.model_lr=.inf", ".inf is not a finite number", None),
        ("agent.discount=.nan", ".nan is not a finite number", None),
    ],
)
def test_an_option_out_of_its_range_is_refused(
    write: Write, override: str, message: str, expected: str | None
) -> None:
    (problem,) = problems(write, override)
    assert (problem.path, problem.message) == (override.partition("=")[0], message)
    assert problem.expected == expected


@pytest.mark.parametrize(
    "override",
    ["agent.discount=1", "agent.kl_free=0", "agent.grad_clip=0", "agent.actor.continuous.layers=0"],
)
def test_the_ends_of_a_closed_range_are_in_it(write: Write, override: str) -> None:
    load_config(write("walk.yaml", DREAMER), [override])
