"""The text of error reports, whole."""

from __future__ import annotations

import pytest

from tests.config.conftest import VALID, Write
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError
from wmrun.errors import ExitCode


def report(file: object, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(str(file), overrides)
    assert raised.value.exit_code == ExitCode.CONFIG
    return str(raised.value)


def test_one_report_tells_every_problem_of_a_file(write: Write) -> None:
    file = write(
        "walk.yaml",
        """\
        name: walk
        env:
          tsk: walker-walk
          num_envs: "4"
          time_limit: 0
          num_envs: 1.0
        agent:
          type: toy
          encoder: {depht: 8, act: eul}
          latent: {type: onehott}
        replay: {capacity: 10}
        run: {env_steps: 1e6, batch_size: 3}
        """,
    )
    assert (
        report(file)
        == """\
walk.yaml has 10 problems

walk.yaml:3:3: env.tsk: unknown key
  3 |   tsk: walker-walk
    |   ^^^
  expected: one of backend, task, source, num_envs, action_repeat, time_limit, image, vector, \
normalize_actions, clip_actions, options, server, servers
  did you mean: task

walk.yaml:5:15: env.time_limit: 0 is out of range
  5 |   time_limit: 0
    |               ^
  expected: an integer >= 1 or null

walk.yaml:6:3: env.num_envs: set twice in one mapping, first on line 4
  6 |   num_envs: 1.0
    |   ^^^^^^^^

walk.yaml:6:13: env.num_envs: 1.0 is a float
  6 |   num_envs: 1.0
    |             ^^^
  expected: an integer >= 1
  did you mean: 1

walk.yaml:9:13: agent.encoder.depht: unknown option of encoder conv
  9 |   encoder: {depht: 8, act: eul}
    |             ^^^^^
  expected: one of type, depth, act, kernels (`wmrun show encoder conv` explains them)
  did you mean: depth

walk.yaml:9:28: agent.encoder.act: "eul" is not one of the choices
  9 |   encoder: {depht: 8, act: eul}
    |                            ^^^
  expected: one of elu, silu
  did you mean: elu

walk.yaml:10:18: agent.latent.type: no latent is called "onehott"
  10 |   latent: {type: onehott}
     |                  ^^^^^^^
  expected: one of categorical, gaussian, onehot (`wmrun list latent`)
  did you mean: onehot

walk.yaml:11:20: replay.capacity: is less than batch_length, 50
  11 | replay: {capacity: 10}
     |                    ^^

walk.yaml:12:18: run.env_steps: 1000000.0 is a float
  12 | run: {env_steps: 1e6, batch_size: 3}
     |                  ^^^
  expected: an integer >= 1
  did you mean: 1000000

walk.yaml:12:23: run.batch_size: unknown key
  12 | run: {env_steps: 1e6, batch_size: 3}
     |                       ^^^^^^^^^^
  expected: one of env_steps, stop_at_return, prefill, prefill_with, pretrain, train_ratio, \
update_burst, eval_every, eval_episodes, eval_envs, checkpoint_every, keep_checkpoints, \
log_every, video
  did you mean: replay.batch_size"""
    )


def test_a_value_is_reported_where_it_was_set(write: Write) -> None:
    write("base.yaml", "agent: {type: toy, lr: fast}\nreplay: {batch_size: 0}\n")
    file = write(
        "walk.yaml",
        """\
        extends: base.yaml
        name: walk
        env: {task: walker-walk}
        run: {env_steps: 2_000}
        """,
    )
    assert (
        report(file, "run.prefill=10", "agent.horizon=long", "agnet.lr=1e-3")
        == """\
walk.yaml has 4 problems

base.yaml:1:24: agent.lr: "fast" is a string
  1 | agent: {type: toy, lr: fast}
    |                        ^^^^
  expected: a number

base.yaml:2:22: replay.batch_size: 0 is out of range
  2 | replay: {batch_size: 0}
    |                      ^
  expected: an integer >= 1

command line, argument 2: agent.horizon: "long" is a string
  | agent.horizon=long
  |               ^^^^
  expected: an integer

command line, argument 3: agnet: unknown key
  | agnet.lr=1e-3
  | ^^^^^
  expected: one of name, seed, device, threads, env, agent, replay, run, tracking
  did you mean: agent"""
    )


def test_what_is_missing_is_missing_in_the_experiment_file(write: Write) -> None:
    write("base.yaml", "agent: {type: toy}\nrun: {prefill: 10}\n")
    file = write("walk.yaml", "extends: base.yaml\nenv:\n  num_envs: 2\n")
    assert (
        report(file, "env.num_envs=3")
        == """\
walk.yaml has 3 problems

walk.yaml:1:1: name: missing
  1 | extends: base.yaml
    | ^^^^^^^^^^^^^^^^^^
  expected: a string of letters, digits, `.`, `_` and `-`: what the experiment is called: the \
folder of its runs

walk.yaml:1:1: run.env_steps: missing
  1 | extends: base.yaml
    | ^^^^^^^^^^^^^^^^^^
  expected: an integer >= 1: env steps to train for

walk.yaml:2:1: env.task: missing
  2 | env:
    | ^^^
  expected: a string: the task's name in its family, such as CartPole-v1 or walker-walk"""
    )


def test_a_circle_of_files_is_shown_as_a_chain(write: Write) -> None:
    write("a.yaml", "extends: b.yaml\n")
    write("b.yaml", "extends: deep/c.yaml\n")
    write("deep/c.yaml", "extends: [../a.yaml]\n")
    assert (
        report("a.yaml")
        == """\
a.yaml has 1 problem

deep/c.yaml:1:11: extends: the files extend each other in a circle: \
a.yaml -> b.yaml -> deep/c.yaml -> a.yaml
  1 | extends: [../a.yaml]
    |           ^^^^^^^^^"""
    )


def test_a_missing_file_is_named_with_its_nearest_neighbour(write: Write) -> None:
    write("walker.yaml", VALID)
    assert report("walkr.yaml") == (
        "walkr.yaml has 1 problem\n\nwalkr.yaml: no such file\n  did you mean: walker.yaml"
    )


def test_a_syntax_error_is_shown_in_its_line(write: Write) -> None:
    file = write("walk.yaml", "name: walk\nenv: {task: x\nrun: 3\n")
    assert (
        report(file)
        == """\
walk.yaml has 1 problem

walk.yaml:3:4: not valid YAML: while parsing a flow mapping, expected ',' or '}', but got ':'
  3 | run: 3
    |    ^"""
    )


def test_a_long_line_is_cut_around_the_mistake(write: Write) -> None:
    padding = ", ".join(f"pad_{i}: {i}" for i in range(30))
    text = VALID.replace("walker-walk", f"x, options: {{{padding}}}, num_envs: many")
    with pytest.raises(ConfigError) as raised:
        load_config(write("walk.yaml", text))
    (problem,) = raised.value.problems
    line, carets = problem.excerpt.splitlines()
    assert len(line) <= len("  2 | ") + 100
    assert line[carets.index("^") : carets.rindex("^") + 1] == "many"


def test_carets_stay_under_their_word_behind_tabs(write: Write) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write("walk.yaml", VALID + "tracking: {uri: 'a\tb', mlflow: 1}\n"))
    (problem,) = raised.value.problems
    assert problem.excerpt == (
        "  5 | tracking: {uri: 'a\tb', mlflow: 1}\n    |                   \t            ^"
    )
