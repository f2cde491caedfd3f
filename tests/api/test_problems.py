"""Mistakes in a `DreamerConfig`, told at the attribute that has them."""

from __future__ import annotations

from typing import Any

import pytest

from wmrun import DreamerAgent, DreamerConfig
from wmrun.api.config import UnknownAttribute
from wmrun.config.problems import ConfigError, Problem
from wmrun.errors import WmrunError


def problems(**attributes: Any) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        DreamerConfig(**{"env": "Pendulum-v1", **attributes}).resolve()
    return caught.value.problems


def problem(**attributes: Any) -> Problem:
    (only,) = problems(**attributes)
    return only


def test_a_misspelt_attribute_names_the_closest_one_when_set_read_or_passed() -> None:
    config = DreamerConfig()
    closest = "has no attribute 'stoch_sise'; did you mean 'stoch_size'"
    with pytest.raises(UnknownAttribute, match=closest):
        config.stoch_sise = 3
    with pytest.raises(UnknownAttribute, match=closest):
        _ = config.stoch_sise
    with pytest.raises(UnknownAttribute, match=closest):
        DreamerConfig(stoch_sise=3)


def test_a_misspelt_attribute_is_an_attribute_error_and_an_error_of_wmrun() -> None:
    assert issubclass(UnknownAttribute, AttributeError)
    assert issubclass(UnknownAttribute, WmrunError)
    assert not hasattr(DreamerConfig(), "stoch_sise")
    assert getattr(DreamerConfig(), "nothing_like_it", 5) == 5


def test_an_unknown_algorithm_is_refused_when_it_is_assigned() -> None:
    config = DreamerConfig()
    with pytest.raises(ConfigError, match="no algorithm is called 'dreamer_v22'") as caught:
        config.algorithm = "dreamer_v22"  # type: ignore[assignment]
    assert caught.value.problems[0].suggestion == "dreamer_v2"
    assert config.algorithm == "dreamer_v1"


def test_a_wrong_value_is_told_as_in_a_file_at_its_attribute() -> None:
    assert str(problem(stoch_size="thirty")) == (
        'DreamerConfig.stoch_size: agent.latent.size: "thirty" is a string\n'
        "  | stoch_size = 'thirty'\n"
        "  |              ^^^^^^^^\n"
        "  expected: an integer >= 1"
    )


@pytest.mark.parametrize(
    ("attributes", "message", "expected"),
    [
        ({"discount": 1.5}, "1.5 is out of range", "a number >= 0 and <= 1"),
        ({"deter_size": 0}, "0 is out of range", "an integer >= 1"),
        ({"total_steps": 1e6}, "1000000.0 is a float", "an integer >= 1"),
        ({"stoch_size": True}, "true is a boolean", "an integer >= 1"),
        ({"video": 1}, "1 is an integer", "true or false"),
        ({"discount": float("nan")}, ".nan is not a finite number", None),
        ({"imagine_horizon": None}, "null is not allowed", "an integer >= 2"),
        ({"discrete_latents": "yes"}, "'yes' is not a switch", "True or False"),
        ({"layer_norm": 1}, "1 is not a switch", "True or False"),
        (
            {"stoch_classes": 4},
            "Gaussian latents have no classes",
            "discrete_latents = True beside it",
        ),
        (
            {"unity_file_name": "walker"},
            "means nothing to env_backend 'gym'",
            'env_backend = "unity_mlagents" beside it',
        ),
        (
            {"size": "12m"},
            "dreamer_v1 has no published sizes",
            'algorithm = "dreamer_v3" beside it',
        ),
        (
            {"embed_size": 1000, "image_size": 64},
            "the cnn encoder cannot make an embedding of 1000 from 64x64 pixels",
            "a multiple of 32, such as 992 or 1024",
        ),
        (
            {"device": object},
            "an object of type type is not a setting",
            "a number, a string, True, False, None, or lists and dicts of these",
        ),
        (
            {"algorithm": "dreamer_v3", "discount_model": False},
            "null is not allowed",
            "a mapping with the `type` of the head and its options",
        ),
        (
            {"algorithm": "dreamer_v3", "kl_balancing": 0.7},
            "0.7 is not a switch, and Dreamer V3 has two scales instead of a share",
            "True or False, or agent.dyn_scale and agent.rep_scale in overrides",
        ),
    ],
)
def test_every_wrong_value_says_what_was_expected(
    attributes: dict[str, Any], message: str, expected: str | None
) -> None:
    found = problem(**attributes)
    assert (found.message, found.expected) == (message, expected)
    name = list(attributes)[-1] if "algorithm" in attributes else next(iter(attributes))
    assert found.file == f"DreamerConfig.{name}"


def test_a_wrong_name_suggests_the_closest() -> None:
    assert problem(critic="two_hat").suggestion == "two_hot"
    assert problem(actor_grad="reinforse").suggestion == "reinforce"


def test_a_task_must_be_set() -> None:
    with pytest.raises(ConfigError) as caught:
        DreamerConfig().resolve()
    (found,) = caught.value.problems
    assert (found.file, found.message) == ("DreamerConfig.env", "missing")


def test_all_problems_come_in_one_error() -> None:
    found = problems(seed=-1, critic="msee", discount=2, overrides=["agent.kl_fre=1", "oops"])
    assert {item.file for item in found} == {
        "DreamerConfig.seed",
        "DreamerConfig.critic",
        "DreamerConfig.discount",
        "DreamerConfig.overrides, item 1",
        "DreamerConfig.overrides, item 2",
    }


def test_a_misspelt_key_of_nested_overrides_is_shown_with_its_path() -> None:
    found = problem(overrides={"agent": {"latent": {"sise": 3}}})
    assert (found.path, found.suggestion) == ("agent.latent.sise", "size")
    assert "agent.latent.sise = 3" in found.excerpt


def test_overrides_are_a_list_or_a_dict() -> None:
    assert problem(overrides="agent.kl_free=1").message == (
        "'agent.kl_free=1' is neither a list of strings nor a dict"
    )


def test_an_agent_is_not_made_of_a_wrong_config() -> None:
    with pytest.raises(ConfigError, match=r"DreamerConfig\.discount"):
        DreamerAgent(DreamerConfig(env="Pendulum-v1", discount=2))
