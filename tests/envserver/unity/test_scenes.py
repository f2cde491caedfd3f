"""What a scene shows, takes and is told, over the wire and as its player saw it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire import messages, spaces

from tests.envserver.unity.conftest import Served
from tests.envserver.unity.session import Row, Session, first
from tests.envserver.unity.standin.pixels import LARGE, pixels
from tests.envserver.unity.standin.scene import Sight

pytestmark = pytest.mark.servers


@pytest.fixture
def opened(server: Served) -> Iterator[list[Session]]:
    """Sessions to be closed at the end."""
    sessions: list[Session] = []
    yield sessions
    for session in sessions:
        session.close()


def refused(server: Served, env_id: str, num_envs: int = 1, **options: Any) -> tuple[str, str]:
    """Return the field and the message of an OpenSession that is refused."""
    fields = {"agents": num_envs, **options}
    _, detail = server.client.open_refused(
        env_id=env_id, num_envs=num_envs, env_config_json=json.dumps(fields)
    )
    return detail.field, detail.message


def test_the_session_is_seeded_once_and_never_at_a_reset(
    server: Served, opened: list[Session]
) -> None:
    seeds = [2**31 + 5, 7]
    opened.append(session := Session(server.client, "continuous", 2, agents=1, seeds=seeds))
    assert session.opened.seed_scope == messages.SEED_PER_SESSION
    assert not session.opened.deterministic
    told = sorted(player.events("hello")[0]["seed"] for player in server.players()[-2:])
    assert told == [5, 7]
    code, detail = server.client.refused(
        "Reset", session_id=session.opened.session_id, seq=1, seeds=[1, 2]
    )
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "SEED_SCOPE")


@pytest.mark.parametrize(
    ("scenario", "action", "told"),
    [
        ("continuous", [[0.25, -1.0]], [0.25, -1.0]),
        ("discrete", [2], [2]),
        ("branches", [[1, 2]], [1, 2]),
        ("hybrid", [[0.5, 1.0], 2], [0.5, 1.0, 2]),
        ("hybrid_branches", [[-0.5], [1, 2]], [-0.5, 1, 2]),
    ],
)
def test_actions_reach_the_agent_as_they_were_sent(
    server: Served, opened: list[Session], scenario: str, action: list[Any], told: list[float]
) -> None:
    opened.append(session := Session(server.client, scenario))
    session.reset()
    total = float(sum(told))
    assert session.step(action).rows == [Row(0, Sight(0, 0, 1, total), 1 + total)]
    assert server.players()[-1].events("actions")[-1]["values"] == [told]


def test_masks_are_true_where_an_action_is_allowed(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "branches"))
    # At every age the stand-in forbids action `age % size` of each branch.
    expected = {
        0: [False, True, False, True, True],
        1: [True, False, True, False, True],
        2: [False, True, True, True, False],
        3: [True, False, False, True, True],
        4: [True, True, True, True, True],
    }
    replies = [session.reset(), *(session.step() for _ in range(4))]
    for reply in replies:
        assert reply.obs["action_mask"].tolist() == [expected[int(reply.rows[0].sight.age)]]
    leaf = spaces.leaves(session.observation_space)[-1]
    assert (leaf.path, leaf.space.role) == ("action_mask", "ACTION_MASK")


@pytest.mark.parametrize("bad", [[3], [-1]])
def test_an_action_that_is_no_branch_never_reaches_the_player(
    server: Served, opened: list[Session], bad: list[int]
) -> None:
    opened.append(session := Session(server.client, "discrete"))
    session.reset()
    _, detail = server.client.refused(
        "Step", session_id=session.opened.session_id, seq=2, action=session.encoded(bad, 1)
    )
    assert detail.reason == "BAD_ACTION"
    assert server.players()[-1].events("actions") == []


def test_images_are_those_of_the_player_to_the_pixel(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "visual"))
    for reply in [session.reset(), *(session.step() for _ in range(5))]:
        sight = reply.rows[0].sight
        for key, channels in (("Camera", 3), ("Stacked", 2), ("Raw", 1)):
            np.testing.assert_array_equal(reply.obs[key][0], pixels(sight, channels))


def test_images_are_fitted_to_the_option(server: Served, opened: list[Session]) -> None:
    image = {"size": [4, 5]}
    opened.append(session := Session(server.client, "visual", image=image))
    reply = session.reset()
    assert {key: array.shape for key, array in reply.obs.items()} == {
        "Camera": (1, 4, 5, 3),
        "Stacked": (1, 4, 5, 2),
        "Raw": (1, 4, 5, 1),
    }
    # A triangle filter that halves keeps the mean of a ramp.
    mean = pixels(Sight(0, 0, 0, 0), 1).mean()
    assert reply.obs["Raw"].mean() == pytest.approx(mean, abs=1)
    opened.append(both := Session(server.client, "visual", image=image, vector=True))
    assert "Vector" in both.reset().obs


def test_sensors_are_named_after_themselves(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "names"))
    roles = {leaf.path: leaf.space.role for leaf in spaces.leaves(session.observation_space)}
    assert roles == {
        "Vector": "VECTOR",
        "Vector_2": "VECTOR",
        "Buffer": spaces.NO_ROLE,
        "Goal": "GOAL",
        "sensor_4": "VECTOR",
        "a_b": "VECTOR",
    }
    assert session.reset().obs["Buffer"].tolist() == [[[0, 0], [0, 0]]]


def test_messages_above_four_mebibytes_pass(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "large"))
    session.reset()
    image = session.step().obs["Raw"]
    np.testing.assert_array_equal(image[0], pixels(Sight(0, 0, 1, 0), 1, LARGE, LARGE))


def test_the_engine_and_the_scene_are_told_what_the_options_say(
    server: Served, opened: list[Session]
) -> None:
    options = {
        "width": 100,
        "height": 50,
        "quality_level": 2,
        "time_scale": 4.0,
        "target_frame_rate": 30,
        "capture_frame_rate": 0,
        "no_graphics": True,
        "parameters": {
            "gravity": -9.5,
            "mass": {"sampler": "uniform", "min": 1, "max": 2, "seed": 7},
            "wind": {"sampler": "gaussian", "mean": 0, "std": 0.5},
            "size": {"sampler": "multirange_uniform", "intervals": [[1, 2], [3, 4]]},
        },
    }
    opened.append(Session(server.client, "continuous", seeds=[11], **options))
    player = server.players()[-1]
    assert [event["value"] for event in player.events("engine")] == [
        ["resolution", 100, 50],
        ["quality_level", 2],
        ["time_scale", 4.0],
        ["target_frame_rate", 30],
        ["capture_frame_rate", 0],
    ]
    assert [event["value"] for event in player.events("parameter")] == [
        ["gravity", -9.5],
        ["mass", 0, 7, 1.0, 2.0],
        ["wind", 1, 11, 0.0, 0.5],
        ["size", 2, 11, 1.0, 2.0, 3.0, 4.0],
    ]
    arguments = player.events("started")[0]["arguments"]
    assert arguments[-4:] == ["-nographics", "-batchmode", "-logFile", "-"]


def test_without_options_the_engine_runs_as_fast_as_it_can(
    server: Served, opened: list[Session]
) -> None:
    opened.append(Session(server.client, "continuous"))
    player = server.players()[-1]
    assert [event["value"] for event in player.events("engine")] == [
        ["time_scale", 20.0],
        ["target_frame_rate", -1],
        ["capture_frame_rate", 60],
    ]
    assert "-nographics" not in player.events("started")[0]["arguments"]


def test_statistics_of_the_scene_are_info_of_the_first_row(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "stats"))
    session.reset()
    reply = session.step()
    assert reply.info("stats/height") == {0: 1.5}
    assert reply.info("stats/falls") == {0: 3.0}
    assert reply.info("stats/lesson") == {0: 1.0}


def test_the_reward_of_a_group_is_info_of_its_members(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "groups", 2))
    session.reset()
    reply = session.step(0.25)
    assert reply.info("group_reward") == {1: 15.0}
    assert [row.reward for row in reply.rows] == [1.5, 1.5]


def test_an_unknown_side_channel_is_dropped(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "unknown_channel"))
    session.episodes(4)
    log = (server.logs / "server.log").read_text()
    assert log.count("00000000-0000-0000-0000-00000000002a are dropped") == 1


def test_of_several_behaviors_the_one_named_is_played_and_others_rest(
    server: Served, opened: list[Session]
) -> None:
    field, message = refused(server, "two_behaviors")
    assert field == "behavior"
    assert "set the option behavior to one of Catcher, Walker" in message
    opened.append(session := Session(server.client, "two_behaviors", behavior="Catcher"))
    assert session.action_space == spaces.Discrete(3)
    session.reset()
    assert session.step([2]).rows == [Row(0, Sight(7, 0, 1, 2), 3.0)]
    told = {e["behavior"]: e["values"] for e in server.players()[-1].events("actions")}
    assert told == {"Walker": [[0.0, 0.0]], "Catcher": [[2]]}


def test_a_behavior_may_appear_late(server: Served, opened: list[Session]) -> None:
    opened.append(session := Session(server.client, "late_behavior", behavior="Catcher"))
    assert session.reset().rows == [first(0, Sight(7, 0, 0, 0))]
    assert session.step([1]).rows == [Row(0, Sight(7, 0, 1, 1), 2.0)]
    opened.append(walker := Session(server.client, "late_behavior", behavior="Walker"))
    assert [row.sight.age for row in walker.episodes(6)] == [0, 1, 2, 3, 4, 0, 1]


def test_a_behavior_that_comes_late_and_unnamed_costs_an_episode_not_a_wrong_row(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "late_behavior"))
    session.reset()
    session.step()
    session.step()
    reply = session.step()
    assert list(reply.message.status) == [messages.SLOT_RESTARTED]
    assert "set the option behavior to one of Catcher, Walker" in reply.message.errors[0].message


def test_a_misspelt_behavior_is_refused_with_the_closest(server: Served) -> None:
    field, message = refused(server, "continuous", behavior="Wlaker")
    assert field == "behavior"
    assert "Did you mean Walker?" in message


@pytest.mark.parametrize(
    ("scenario", "agents", "words"),
    [
        ("staggered", 3, "1 of 3 agents of behavior 'Walker' ask in the first message"),
        ("newcomer", 2, "1 of 2 agents of behavior 'Walker' ask in the first message"),
    ],
)
def test_agents_that_do_not_ask_together_need_partial_batches(
    server: Served, scenario: str, agents: int, words: str
) -> None:
    field, message = refused(server, scenario, agents)
    assert field == "want_capabilities"
    assert words in message
    assert "partial_batch" in message


def test_an_agent_that_vanishes_in_lockstep_is_refused_when_it_is_missed(
    server: Served, opened: list[Session]
) -> None:
    opened.append(session := Session(server.client, "crowd", 2))
    session.reset()
    for _ in range(3):
        session.step()
    _, detail = server.client.refused(
        "Step",
        session_id=session.opened.session_id,
        seq=session.seq + 1,
        action=session.encoded(0.0, 2),
    )
    assert "slots [1] did not ask together with the others, or are gone" in detail.message
    assert "partial_batch" in detail.message


def test_more_agents_than_slots_are_refused(server: Served) -> None:
    field, message = refused(server, "agents", 2)
    assert field == "agents"
    assert "agent 2 of behavior 'Walker' is one more than the 2 slots" in message


def test_slots_must_fill_players(server: Served) -> None:
    field, message = refused(server, "agents", 4, agents=3)
    assert field == "num_envs"
    assert "a multiple of 3" in message


def test_an_unknown_player_is_refused_with_the_closest(server: Served) -> None:
    code, detail = server.client.open_refused(env_id="continous")
    assert (code, detail.field) == ("NOT_FOUND", "env_id")
    assert "Did you mean continuous?" in detail.message
    assert "--env continous=PATH_OF_THE_PLAYER" in detail.message


def test_options_are_checked_before_a_player_is_started(server: Served) -> None:
    before = len(server.players())
    assert refused(server, "continuous", additional_args=["--x"])[0] == "additional_args"
    assert refused(server, "continuous", file_name="/bin/sh")[0] == "file_name"
    assert refused(server, "continuous", action_repeat=2)[0] == "action_repeat"
    assert len(server.players()) == before
