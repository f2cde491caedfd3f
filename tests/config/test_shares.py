"""How many slots each of several servers has."""

from __future__ import annotations

import pytest

from wmrun.config.schema import EnvConfig, ServerConfig, ServerShareConfig
from wmrun.config.shares import fill_shares, spread


@pytest.mark.parametrize(
    ("num_envs", "shares", "filled"),
    [
        (8, [None], [8]),
        (8, [None, None, None], [3, 3, 2]),
        (8, [5, None, None], [5, 2, 1]),
        (8, [5, 3], [5, 3]),
    ],
)
def test_what_is_left_open_is_divided_equally(
    num_envs: int, shares: list[int | None], filled: list[int]
) -> None:
    assert fill_shares(num_envs, shares) == filled


@pytest.mark.parametrize(
    ("num_envs", "shares", "words"),
    [
        (8, [5, 4], "add up to 9"),
        (8, [5, 2], "add up to 7"),
        (2, [None, None, None], "add up to 0, and 3 more"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(
    num_envs: int, shares: list[int | None], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        fill_shares(num_envs, shares)


@pytest.mark.parametrize(
    ("num_envs", "shares", "spread_out"),
    [
        (8, [5, 3], [5, 3]),
        (4, [5, 3], [3, 1]),
        (1, [5, 3], [1, 0]),
        (2, [1, 1, 1], [1, 1, 0]),
        (16, [5, 3], [10, 6]),
    ],
)
def test_other_numbers_of_slots_are_spread_in_proportion(
    num_envs: int, shares: list[int], spread_out: list[int]
) -> None:
    assert spread(num_envs, shares) == spread_out


def test_evaluation_on_fewer_slots_leaves_servers_out() -> None:
    share = ServerShareConfig()
    env = EnvConfig(task="t", num_envs=4, servers=[share, share]).with_slots(1)
    assert (env.num_envs, [server.num_envs for server in env.servers]) == (1, [1, 0])
    assert EnvConfig(task="t", num_envs=4).with_slots(2) == EnvConfig(task="t", num_envs=2)
    assert env.server == ServerConfig()
