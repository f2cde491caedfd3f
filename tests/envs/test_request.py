"""From the config to the session that is asked for, and back."""

from __future__ import annotations

import pytest
from wmrun_envserver.server.limits import Limits

from wmrun.config.schema import EnvConfig, ImageConfig, ServerConfig
from wmrun.envs.errors import EnvCapacity, EnvRefused, EnvRequestError, EnvStartError
from wmrun.envs.placement import placements
from wmrun.envs.request import Role, env_options, refused, session_request, slot_seeds


def test_options_at_their_default_are_left_to_the_server() -> None:
    assert env_options(EnvConfig(task="t", action_repeat=1, vector=None)) == {}


def test_options_of_the_family_join_the_common_ones_that_were_set() -> None:
    config = EnvConfig(
        task="t",
        action_repeat=2,
        image=ImageConfig(size=(32, 48)),
        clip_actions=False,
        options={"quality": "fast"},
    )
    assert env_options(config) == {
        "action_repeat": 2,
        "image": {"size": [32, 48], "camera": None, "grayscale": False},
        "clip_actions": False,
        "quality": "fast",
    }


def test_request_carries_the_limits_of_the_config() -> None:
    server = ServerConfig(start_timeout_s=1.0, reset_timeout_s=2.0, step_timeout_s=3.0)
    config = EnvConfig(task="t", num_envs=2, server=server)
    (place,) = placements(config, "eval")
    request = session_request(config, place, "run-7", 0, "eval", 0)
    assert (request.open_timeout_s, request.reset_timeout_s, request.step_timeout_s) == (1, 2, 3)
    assert (request.task, request.num_envs, request.client_id) == ("t", 2, "run-7/eval")


def test_seeds_repeat_for_the_same_slot_and_differ_for_every_other() -> None:
    seeds = [
        tuple(slot_seeds(seed, role, times_opened, 4))
        for seed in (0, 1)
        for role in ("train", "eval")
        for times_opened in (0, 1)
    ]
    assert len({seed for slots in seeds for seed in slots}) == 32
    assert seeds[0] == tuple(slot_seeds(0, "train", 0, 4))
    assert slot_seeds(0, "train", 0, 2) == slot_seeds(0, "train", 0, 4)[:2]


@pytest.mark.parametrize(
    ("reason", "field", "message"),
    [
        ("ENV_UNKNOWN", "env_id", "env.task: because"),
        ("BAD_CONFIG", "image.size", "env.image.size: because"),
        ("BAD_CONFIG", "qualty", "env.options.qualty: because"),
        ("CAPACITY", "num_envs", "env.num_envs: because"),
        ("TOO_LARGE", "num_envs", "env.num_envs: because"),
        ("TOO_LARGE", "", "env.task t: because"),
        ("BAD_CONFIG", "env_id", "env.task t: because"),
        ("BAD_CONFIG", "env_config_json", "env.task t: because"),
    ],
)
def test_refusal_names_the_key_of_the_config(reason: str, field: str, message: str) -> None:
    refusal = EnvRequestError("because", reason=reason, field=field)
    assert str(refusal_of(EnvConfig(task="t"), refusal)) == message


def test_a_full_server_is_named_with_what_a_run_needs_and_what_can_be_done() -> None:
    config = EnvConfig(task="t", server=ServerConfig(address="10.0.0.1:5005"))
    full = EnvRequestError("all 1 sessions are taken (--max-sessions)", reason="CAPACITY")
    error = refusal_of(config, full, role="eval")
    assert isinstance(error, EnvCapacity)
    assert error.message.startswith("env.server.address 10.0.0.1:5005: all 1 sessions are taken")
    for word in ("--max-sessions", "run.eval_every=0", "run.video=false"):
        assert error.hint is not None
        assert word in error.hint


def test_a_server_without_enough_slots_is_named_with_the_key_of_the_role() -> None:
    config = EnvConfig(task="t", server=ServerConfig(address="h:1"))
    full = EnvRequestError("2 are free", reason="CAPACITY", field="num_envs")
    assert str(refusal_of(config, full)) == "env.num_envs: 2 are free (env.server.address h:1)"
    evaluating = refusal_of(config, full, role="eval")
    assert str(evaluating) == "run.eval_envs: 2 are free (env.server.address h:1)"


def test_only_what_another_try_may_mend_is_tried_again() -> None:
    for reason, is_final in {
        "ENV_UNKNOWN": True,
        "BAD_CONFIG": True,
        "CAPACITY": False,
        "ENV_FAILED": False,
    }.items():
        error = refusal_of(EnvConfig(task="t"), EnvRequestError("because", reason=reason))
        assert isinstance(error, EnvRefused) == is_final, reason


def test_server_is_told_run_and_role_within_its_limit() -> None:
    config = EnvConfig(task="t")
    (place,) = placements(config, "video")
    names = [
        session_request(config, place, "id", 0, "video", 0, run_name=name).client_name
        for name in (None, "cartpole/20260101-000000-abcd", "x" * 300)
    ]
    assert names[:2] == ["wmrun video", "wmrun cartpole/20260101-000000-abcd video"]
    assert (len(names[2]), names[2][-7:]) == (Limits().max_client_characters, "x video")


def refusal_of(
    config: EnvConfig, refusal: EnvRequestError, *, role: Role = "train", report: str = "report"
) -> EnvStartError:
    (place,) = placements(config, role)
    return refused(config, place, role, refusal, report)


REPORT = """\
The env server is running (pid 7). Last lines of runs/r/server.log:
      self._host.build(slots)
    File "/venv/lib/wmrun_envserver/server/env_host.py", line 30, in build
      self._make(slot)
      ~~~~~~~~~~^^^^^^
    File "/home/me/maze.py", line 3, in make
      open_licence("maze.key")
  OSError: the licence is gone

  The above exception was the direct cause of the following exception:
    File "/venv/lib/wmrun_envserver/server/opening.py", line 9, in _build
      raise Refused(
  wmrun_envserver.server.refusal.Refused: it could not be built:
      maze.key"""


def test_an_env_that_cannot_be_built_speaks_first_and_without_the_servers_own_frames() -> None:
    refusal = EnvRequestError("OSError: the licence is gone", reason="ENV_FAILED")
    error = refusal_of(EnvConfig(task="maze"), refusal, report=REPORT)
    assert (
        str(error)
        == """\
env.task maze: OSError: the licence is gone
The env server is running (pid 7). Last lines of runs/r/server.log:
    File "/home/me/maze.py", line 3, in make
      open_licence("maze.key")
  OSError: the licence is gone

  The above exception was the direct cause of the following exception:
  wmrun_envserver.server.refusal.Refused: it could not be built:
      maze.key"""
    )


def test_a_report_without_a_log_is_shown_as_it_is() -> None:
    refusal = EnvRequestError("gone", reason="ENV_FAILED")
    report = "The env server at 10.0.0.1:5005 is not ours."
    error = refusal_of(EnvConfig(task="t"), refusal, report=report)
    assert str(error) == "env.task t: gone\nThe env server at 10.0.0.1:5005 is not ours."
