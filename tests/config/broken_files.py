"""Experiment files with one mistake each, and where it must be found."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = "name: walk\nenv: {task: walker-walk}\nrun: {env_steps: 2_000}\n"
"""Three valid lines; what follows in a file starts on line 4."""
TOY = HEAD + "agent: {type: toy}\n"
"""Four valid lines that make a whole experiment."""


@dataclass(frozen=True)
class Broken:
    """`exp.yaml` with one mistake, and the problem that must be reported."""

    name: str
    text: str
    place: str
    """`file:line:column`, or `command line, argument N:column`."""
    path: str
    message: str
    suggestion: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


BROKEN = (
    # YAML itself
    Broken(
        "indentation",
        TOY + "replay:\n  capacity: 100\n batch_size: 2\n",
        "exp.yaml:7:2",
        "",
        "not valid YAML",
    ),
    Broken("tab", TOY + "replay:\n\tcapacity: 100\n", "exp.yaml:6:1", "", "not valid YAML"),
    Broken("open bracket", TOY + "replay: {capacity: 1", "exp.yaml:5:21", "", "not valid YAML"),
    Broken("open quote", "name: 'walk\n", "exp.yaml:2:1", "", "not valid YAML"),
    Broken("colon in a word", "name: walk: far\n", "exp.yaml:1:11", "", "not valid YAML"),
    Broken("two documents", "name: a\n---\nname: b\n", "exp.yaml:2:1", "", "not valid YAML"),
    Broken("control character", "name: wa\x01lk\n", "exp.yaml:1:9", "", "not valid YAML"),
    Broken("unknown alias", TOY + "seed: *base\n", "exp.yaml:5:7", "", "not valid YAML"),
    Broken("alias of itself", "name: &a [*a]\n", "exp.yaml:1:1", "", "not valid YAML"),
    Broken("a list", "- name: walk\n", "exp.yaml:1:1", "", "not a mapping"),
    Broken("tag", TOY + "seed: !!python/name:os.system\n", "exp.yaml:5:7", "seed", "the tag"),
    Broken("merge key", TOY + "replay:\n  <<: {}\n", "exp.yaml:6:3", "replay", "merge keys"),
    Broken("number as key", TOY + "1: 2\n", "exp.yaml:5:1", "", "1 cannot be a key", '"1"'),
    Broken("duplicate key", TOY + "seed: 1\nseed: 2\n", "exp.yaml:6:1", "seed", "set twice"),
    Broken(
        "duplicate key inside",
        TOY + "replay:\n  batch_size: 2\n  batch_length: 9\n  batch_size: 3\n",
        "exp.yaml:8:3",
        "replay.batch_size",
        "set twice",
    ),
    # unknown and missing keys
    Broken("typo at the top", TOY + "sede: 1\n", "exp.yaml:5:1", "sede", "unknown key", "seed"),
    Broken(
        "typo in a section",
        TOY + "replay: {batch_lenght: 9}\n",
        "exp.yaml:5:10",
        "replay.batch_lenght",
        "unknown key",
        "batch_length",
    ),
    Broken(
        "typo three deep",
        "name: walk\nagent: {type: toy}\nrun: {env_steps: 9}\nenv:\n  task: x\n  server:\n"
        "    restarts: {per_windw: 2}\n",
        "exp.yaml:7:16",
        "env.server.restarts.per_windw",
        "unknown key",
        "per_window",
    ),
    Broken(
        "typo of a required section",
        "name: walk\nevn: {task: x}\nrun: {env_steps: 9}\nagent: {type: toy}\n",
        "exp.yaml:2:1",
        "evn",
        "unknown key",
        "env",
    ),
    Broken(
        "dash for underscore",
        TOY + "replay: {batch-size: 9}\n",
        "exp.yaml:5:10",
        "replay.batch-size",
        "unknown key",
        "batch_size",
    ),
    Broken(
        "half a name",
        HEAD.replace("env_steps", "steps") + "agent: {type: toy}\n",
        "exp.yaml:3:7",
        "run.steps",
        "unknown key",
        "env_steps",
    ),
    Broken(
        "wrong section",
        TOY + "num_envs: 4\n",
        "exp.yaml:5:1",
        "num_envs",
        "unknown key",
        "env.num_envs",
    ),
    Broken(
        "extends below the top",
        TOY + "replay: {extends: base}\n",
        "exp.yaml:5:10",
        "replay.extends",
        "unknown key",
    ),
    Broken("no task", TOY.replace("task: walker-walk", ""), "exp.yaml:2:1", "env.task", "missing"),
    Broken("no name", TOY.replace("name: walk\n", ""), "exp.yaml:1:1", "name", "missing"),
    Broken("empty section", TOY + "replay:\n", "exp.yaml:5:8", "replay", "null is not allowed"),
    # types and ranges
    Broken("string for int", TOY + 'seed: "5"\n', "exp.yaml:5:7", "seed", '"5" is a string', "5"),
    Broken("float for int", TOY + "seed: 1.0\n", "exp.yaml:5:7", "seed", "1.0 is a float", "1"),
    Broken("bool for int", TOY + "seed: true\n", "exp.yaml:5:7", "seed", "true is a boolean"),
    Broken(
        "exponent for int",
        TOY.replace("2_000", "2e5"),
        "exp.yaml:3:18",
        "run.env_steps",
        "200000.0 is a float",
        "200000",
    ),
    Broken(
        "int for string",
        TOY.replace("walk\n", "007\n", 1),
        "exp.yaml:1:7",
        "name",
        "7 is an integer",
        '"007"',
    ),
    Broken(
        "yes for bool",
        TOY + "tracking: {mlflow: yes}\n",
        "exp.yaml:5:20",
        "tracking.mlflow",
        '"yes" is a string',
        "true",
    ),
    Broken("scalar for section", TOY + "replay: 3\n", "exp.yaml:5:9", "replay", "3 is an integer"),
    Broken("section for scalar", TOY + "seed: {a: 1}\n", "exp.yaml:5:7", "seed", "is a mapping"),
    Broken("below zero", TOY + "seed: -1\n", "exp.yaml:5:7", "seed", "-1 is out of range"),
    Broken(
        "zero seconds",
        TOY + "tracking: {flush_every_s: 0}\n",
        "exp.yaml:5:27",
        "tracking.flush_every_s",
        "0 is out of range",
    ),
    Broken("wrong form", TOY.replace("walk\n", "a/b\n", 1), "exp.yaml:1:7", "name", '"a/b" does'),
    Broken("device", TOY + "device: cdua\n", "exp.yaml:5:9", "device.name", '"cdua" does', "cuda"),
    Broken(
        "image of three numbers",
        TOY.replace("walker-walk", "x, image: {size: [64, 64, 3]}"),
        "exp.yaml:2:30",
        "env.image.size",
        "is a list of 3",
    ),
    Broken(
        "image of words",
        TOY.replace("walker-walk", "x, image: {size: [64, big]}"),
        "exp.yaml:2:35",
        "env.image.size[1]",
        '"big" is a string',
    ),
    Broken(
        "two servers",
        TOY.replace("walker-walk", "x, server: {python: p, address: a}"),
        "exp.yaml:2:45",
        "env.server.address",
        "excludes python",
    ),
    Broken(
        "option of the wrong level",
        TOY.replace("walker-walk", "x, options: {image: {}}"),
        "exp.yaml:2:33",
        "env.options.image",
        "belongs one level up",
    ),
    Broken(
        "infinite",
        TOY.replace("2_000", "2_000, train_ratio: .inf"),
        "exp.yaml:3:38",
        "run.train_ratio",
        ".inf is not a finite number",
    ),
    Broken(
        "overflowing",
        TOY.replace("2_000", "2_000, stop_at_return: -1e999"),
        "exp.yaml:3:41",
        "run.stop_at_return",
        "-.inf is not a finite number",
    ),
    Broken(
        "integer beyond floats",
        TOY.replace("2_000", f"2_000, train_ratio: 1{'0' * 400}"),
        "exp.yaml:3:38",
        "run.train_ratio",
        "1000",
    ),
    Broken(
        "not a number in an option of the family",
        TOY.replace("walker-walk", "x, options: {mass: [1, .nan]}"),
        "exp.yaml:2:36",
        "env.options.mass[1]",
        ".nan is not a finite number",
    ),
    Broken(
        "option not a number",
        HEAD + "agent: {type: toy, lr: .nan}\n",
        "exp.yaml:4:24",
        "agent.lr",
        ".nan is not a finite number",
    ),
    Broken(
        "prefill in env steps",
        TOY.replace("task: walker-walk", "task: x, action_repeat: 2").replace(
            "2_000", "2_000, prefill: 1_000"
        ),
        "exp.yaml:3:34",
        "run.prefill",
        "prefill counts agent steps: the first update would follow 1000, the run has only 1000 "
        "agent steps (env_steps 2000 / action_repeat 2)",
    ),
    Broken(
        "default prefill without updates but pretrain",
        TOY.replace("2_000", "900, train_ratio: 0"),
        "exp.yaml:3:6",
        "run.prefill",
        "prefill counts agent steps: the first update would follow 1000, the run has only 900",
    ),
    Broken(
        "sequences longer than a slot",
        TOY.replace("task: walker-walk", "task: x, num_envs: 4") + "replay: {capacity: 150}\n",
        "exp.yaml:5:20",
        "replay.capacity",
        "leaves each of 4 env slots 37 steps, less than replay.batch_length, 50: set at least 200",
    ),
    Broken(
        "online sequences of open episodes",
        TOY + "replay: {sampler: episodes, online: true}\n",
        "exp.yaml:5:37",
        "replay.online",
        "needs sampler: windows",
    ),
    Broken(
        "ends without episodes",
        TOY + "replay: {prioritize_ends: true}\n",
        "exp.yaml:5:27",
        "replay.prioritize_ends",
        "needs sampler: episodes",
    ),
    Broken(
        "unknown sampler",
        TOY + "replay: {sampler: episode}\n",
        "exp.yaml:5:19",
        "replay.sampler",
        '"episode" is not one of the choices',
        "episodes",
    ),
    Broken(
        "unknown prefill policy",
        TOY.replace("2_000", "2_000, prefill_with: agent"),
        "exp.yaml:3:39",
        "run.prefill_with",
        '"agent" is not one of the choices',
    ),
    # components
    Broken(
        "unknown agent",
        HEAD + "agent: {type: tyo}\n",
        "exp.yaml:4:15",
        "agent.type",
        'no agent is called "tyo"',
        "toy",
    ),
    Broken(
        "agent without type", HEAD + "agent: {lr: 1}\n", "exp.yaml:4:1", "agent.type", "missing"
    ),
    Broken(
        "typo of type",
        HEAD + "agent: {tpye: toy}\n",
        "exp.yaml:4:9",
        "agent.tpye",
        "unknown key",
        "type",
    ),
    Broken(
        "type that is no string",
        HEAD + "agent: {type: 3}\n",
        "exp.yaml:4:15",
        "agent.type",
        "3 is an integer",
    ),
    Broken(
        "unknown option",
        HEAD + "agent: {type: toy, horizn: 3}\n",
        "exp.yaml:4:20",
        "agent.horizn",
        "unknown option of agent toy",
        "horizon",
    ),
    Broken(
        "option of an inner component",
        HEAD + "agent:\n  type: toy\n  latent:\n    group: 4\n",
        "exp.yaml:7:5",
        "agent.latent.group",
        "unknown option of latent onehot",
        "groups",
    ),
    Broken(
        "option of another type",
        HEAD + "agent: {type: toy, encoder: {type: dense, layers: 1, depth: 3}}\n",
        "exp.yaml:4:54",
        "agent.encoder.depth",
        "unknown option of encoder dense",
    ),
    Broken(
        "component by key",
        HEAD + "agent: {type: toy, by_key: {left: {type: cnov}}}\n",
        "exp.yaml:4:42",
        "agent.by_key.left.type",
        'no encoder is called "cnov"',
        "conv",
    ),
    Broken(
        "component in a list",
        HEAD + "agent:\n  type: toy\n  stack:\n    - {type: conv}\n    - {type: conv, dept: 3}\n",
        "exp.yaml:8:20",
        "agent.stack[1].dept",
        "unknown option of encoder conv",
        "depth",
    ),
    Broken(
        "missing option",
        HEAD + "agent: {type: toy, extra: {type: dense}}\n",
        "exp.yaml:4:20",
        "agent.extra.layers",
        "missing",
    ),
    Broken(
        "component as a word",
        HEAD + "agent: {type: toy, encoder: conv}\n",
        "exp.yaml:4:29",
        "agent.encoder",
        '"conv" is a string',
        "{type: conv}",
    ),
    Broken(
        "choice",
        HEAD + "agent: {type: toy, encoder: {act: slu}}\n",
        "exp.yaml:4:35",
        "agent.encoder.act",
        '"slu" is not one of the choices',
        "silu",
    ),
    Broken(
        "1.1 exponent without digits",
        HEAD + "agent: {type: toy, lr: 1e}\n",
        "exp.yaml:4:24",
        "agent.lr",
        '"1e" is a string',
    ),
    Broken(
        "item of a list",
        HEAD + "agent: {type: toy, dims: [1, 2.5]}\n",
        "exp.yaml:4:30",
        "agent.dims[1]",
        "2.5 is a float",
    ),
    Broken(
        "word for a list",
        HEAD + "agent: {type: toy, dims: 3}\n",
        "exp.yaml:4:26",
        "agent.dims",
        "3 is an integer",
        "[3]",
    ),
    # extends
    Broken(
        "unknown preset",
        "extends: dreamerv2\n" + TOY,
        "exp.yaml:1:10",
        "extends",
        'no preset is called "dreamerv2"',
        "dreamer_v2",
    ),
    Broken(
        "missing base",
        "extends: bases/wlaker.yaml\n" + TOY,
        "exp.yaml:1:10",
        "extends",
        "no such file",
        "bases/walker.yaml",
        files={"bases/walker.yaml": "seed: 1\n"},
    ),
    Broken(
        "missing base in a list",
        "extends: [base.yaml, gone.yaml]\n" + TOY,
        "exp.yaml:1:22",
        "extends",
        "no such file",
        files={"base.yaml": "seed: 1\n"},
    ),
    Broken("extends a number", "extends: 3\n" + TOY, "exp.yaml:1:10", "extends", "not a name"),
    Broken(
        "extends itself", "extends: ./exp.yaml\n" + TOY, "exp.yaml:1:10", "extends", "the files"
    ),
    Broken(
        "circle of two",
        "extends: b.yaml\n" + TOY,
        "b.yaml:1:10",
        "extends",
        "the files extend each other in a circle: exp.yaml -> b.yaml -> exp.yaml",
        files={"b.yaml": "extends: exp.yaml\n"},
    ),
    Broken(
        "typo in a base",
        "extends: base.yaml\n" + TOY,
        "base.yaml:2:3",
        "replay.batchsize",
        "unknown key",
        "batch_size",
        files={"base.yaml": "replay:\n  batchsize: 3\n"},
    ),
    Broken(
        "base that is no YAML",
        "extends: base.yaml\n" + TOY,
        "base.yaml:1:9",
        "",
        "not valid YAML",
        files={"base.yaml": "replay: }\n"},
    ),
    # overrides
    Broken(
        "override of an unknown key",
        TOY,
        "command line, argument 1:8",
        "replay.batch_sise",
        "unknown key",
        "batch_size",
        overrides=("replay.batch_sise=3",),
    ),
    Broken(
        "override of an unknown option",
        TOY,
        "command line, argument 2:15",
        "agent.encoder.dpeth",
        "unknown option of encoder conv",
        "depth",
        overrides=("seed=1", "agent.encoder.dpeth=3"),
    ),
    Broken(
        "override of the wrong type",
        TOY,
        "command line, argument 1:10",
        "agent.lr",
        '"abc" is a string',
        overrides=("agent.lr=abc",),
    ),
    Broken(
        "override with bad YAML",
        TOY,
        "command line, argument 1:24",
        "agent.dims",
        "not valid YAML",
        overrides=("agent.dims=[1, 2, {a: 1",),
    ),
    Broken(
        "override without value",
        TOY,
        "command line, argument 1:1",
        "",
        "not an override",
        overrides=("seed",),
    ),
    Broken(
        "override with an empty key",
        TOY,
        "command line, argument 1:1",
        "",
        "not an override",
        overrides=("agent..lr=1",),
    ),
    Broken(
        "override below a scalar",
        TOY,
        "command line, argument 1:6",
        "seed",
        "is a mapping",
        overrides=("seed.value=1",),
    ),
)
