"""Which server has which slots, what it is called, and what specs of several have in common."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from wmrun_envserver.wire import spaces

from wmrun.config.schema import EnvConfig, ServerConfig, ServerShareConfig
from wmrun.envs.errors import EnvStartError
from wmrun.envs.placement import errors_name, placements
from wmrun.envs.request import session_request, slot_seeds
from wmrun.envs.spec import EnvSpec, common_spec, difference


def spread_over(*servers: ServerShareConfig, num_envs: int) -> EnvConfig:
    return EnvConfig(task="t", num_envs=num_envs, servers=list(servers))


def test_one_server_has_all_slots_and_the_name_of_the_role() -> None:
    server = ServerConfig(address="h:1")
    (place,) = placements(EnvConfig(task="t", num_envs=3, server=server), "eval")
    assert (place.key, place.label, place.slots) == ("env.server", "eval", range(3))
    assert (place.server, str(place)) == (server, "env.server (h:1)")


def test_several_servers_have_consecutive_slots_and_numbers() -> None:
    config = spread_over(ServerShareConfig(num_envs=1), ServerShareConfig(python="p"), num_envs=4)
    first, second = placements(config, "train")
    assert (first.key, first.label, first.slots) == ("env.servers[0]", "train-0", range(1))
    assert (second.key, second.label, second.slots) == ("env.servers[1]", "train-1", range(1, 4))
    assert (str(first), str(second)) == ("env.servers[0]", "env.servers[1] (p)")


def test_servers_without_slots_are_left_out_and_keep_their_numbers() -> None:
    config = spread_over(ServerShareConfig(num_envs=1), ServerShareConfig(num_envs=3), num_envs=4)
    (place,) = placements(config.with_slots(1), "video")
    assert (place.label, place.slots) == ("video-1", range(1))


def test_sessions_differ_in_name_and_seeds_and_outlast_a_minute_without_a_network() -> None:
    config = spread_over(ServerShareConfig(), ServerShareConfig(address="h:1"), num_envs=4)
    here, there = (
        session_request(config, place, "run-7", 3, "train", 0)
        for place in placements(config, "train")
    )
    assert (here.client_id, there.client_id) == ("run-7/train-0", "run-7/train-1")
    assert [*here.seeds, *there.seeds] == slot_seeds(3, "train", 0, 4)
    assert (here.lease_s, there.lease_s) == (60, 120)


def test_errors_speak_of_the_key_that_was_set() -> None:
    with pytest.raises(EnvStartError) as caught, errors_name("env.servers[2]"):
        raise EnvStartError("env.server.python: no", hint="Set env.server.address.")
    assert str(caught.value) == "env.servers[2].python: no\nSet env.servers[2].address."


SPEC = EnvSpec(
    obs_space={"image": spaces.Box((2, 2, 3), "uint8"), "vector": spaces.Box((3,))},
    act_space=spaces.Discrete(4),
    max_episode_steps=500,
    reward_range=(-1.0, 1.0),
    deterministic=True,
    seeds_per_reset=True,
    spec_hash="a",
    renderer=None,
)


def test_what_servers_offer_in_common_is_the_least_that_each_does() -> None:
    other = dataclasses.replace(
        SPEC,
        max_episode_steps=800,
        reward_range=(0.0, np.inf),
        deterministic=False,
        seeds_per_reset=False,
    )
    common = common_spec([SPEC, other])
    assert (common.max_episode_steps, common.reward_range) == (800, (-1.0, np.inf))
    assert (common.deterministic, common.seeds_per_reset) == (False, False)
    unlimited = dataclasses.replace(SPEC, max_episode_steps=None)
    assert common_spec([SPEC, unlimited]).max_episode_steps is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"obs_space": {**SPEC.obs_space, "vector": spaces.Box((5,))}},
            "observation 'vector' is Box float32 [3] and Box float32 [5]",
        ),
        (
            {"obs_space": {**SPEC.obs_space, "vector": spaces.Box((3,), low=0)}},
            "observation 'vector' is Box float32 [3] in both, with other bounds or roles",
        ),
        (
            {"obs_space": {"image": SPEC.obs_space["image"]}},
            "observation 'vector' is Box float32 [3] and missing",
        ),
        (
            {"obs_space": {**SPEC.obs_space, "goal": spaces.Discrete(2)}},
            "observation 'goal' is missing and Discrete(2)",
        ),
        ({"act_space": spaces.Discrete(5)}, "the action is Discrete(4) and Discrete(5)"),
        (
            {"obs_space": dict(reversed(SPEC.obs_space.items()))},
            "the order of the observations differs",
        ),
    ],
)
def test_the_first_difference_of_two_specs_is_named(changes: dict, words: str) -> None:
    assert difference(SPEC, dataclasses.replace(SPEC, **changes)) == words
