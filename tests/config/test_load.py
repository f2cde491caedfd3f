"""What an experiment file that is right becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.config.conftest import VALID, Write
from wmrun.config.extends import PRESETS, preset_names
from wmrun.config.load import load_config
from wmrun.config.schema import Config, ImageConfig, Section


def test_every_default_is_filled_in_down_to_inner_components(write: Write) -> None:
    config = load_config(write("walk.yaml", VALID))
    assert config.agent == {
        "type": "toy",
        "lr": 1e-4,
        "horizon": 15,
        "greedy": False,
        "clip": None,
        "label": "toy",
        "dims": [1, 2],
        "encoder": {"type": "conv", "depth": 48, "act": "elu", "kernels": (4, 4)},
        "latent": {"type": "onehot", "groups": 32},
        "extra": None,
        "by_key": {},
        "stack": [],
    }
    assert config.env.server.restarts.per_window == 3
    assert config.replay.batch_length == 50


def test_a_partial_inner_component_keeps_the_default_type_and_options(write: Write) -> None:
    config = load_config(write("walk.yaml", VALID), ["agent.encoder.act=silu"])
    assert config.agent["encoder"] == {
        "type": "conv",
        "depth": 48,
        "act": "silu",
        "kernels": (4, 4),
    }


def test_an_inner_component_of_another_type_starts_from_its_own_defaults(write: Write) -> None:
    overrides = ["agent.encoder={type: dense, layers: 2}"]
    config = load_config(write("walk.yaml", VALID), overrides)
    assert config.agent["encoder"] == {"type": "dense", "layers": 2, "units": 400}


def test_components_stand_in_lists_and_by_key(write: Write) -> None:
    overrides = [
        "agent.stack=[{type: onehot_}, {type: dense, layers: 1}]".replace("onehot_", "conv"),
        "agent.by_key={left: {type: toy:conv, depth: 1}}",
        "agent.extra={type: dense, layers: 3}",
    ]
    agent = load_config(write("walk.yaml", VALID), overrides).agent
    assert [item["type"] for item in agent["stack"]] == ["conv", "dense"]
    assert agent["by_key"]["left"] == {
        "type": "toy:conv",
        "depth": 1,
        "act": "elu",
        "kernels": (4, 4),
    }
    assert agent["extra"]["units"] == 400


def test_integers_serve_as_floats_and_become_floats(write: Write) -> None:
    config = load_config(write("walk.yaml", VALID), ["run.train_ratio=32", "agent.lr=1"])
    assert isinstance(config.run.train_ratio, float)
    assert isinstance(config.agent["lr"], float)


def test_null_sets_back_what_a_base_has_set(write: Write) -> None:
    write("base.yaml", "env: {image: {size: [32, 48]}}\n")
    file = write("walk.yaml", "extends: base.yaml\n" + VALID)
    assert load_config(file).env.image == ImageConfig(size=(32, 48))
    assert load_config(file, ["env.image=null"]).env.image is None


def test_an_empty_list_takes_away_the_servers_that_a_base_has_set(write: Write) -> None:
    write("base.yaml", "env: {num_envs: 2, servers: [{}, {}]}\n")
    file = write("walk.yaml", "extends: base.yaml\n" + VALID)
    assert len(load_config(file).env.servers) == 2
    config = load_config(file, ["env.servers=[]", "env.server.workers=2"])
    assert (config.env.servers, config.env.server.workers) == ([], 2)


def test_null_removes_an_entry_of_a_free_mapping_that_a_base_has_set(write: Write) -> None:
    write(
        "base.yaml",
        """\
        env: {options: {quality: fast, kwargs: {camera: null}}}
        agent: {loss_scales: {vector: 100, reward: 2}}
        """,
    )
    text = "extends: [dreamer_v2, base.yaml]\n" + VALID.replace("agent: {type: toy}\n", "")
    nulls = ["agent.loss_scales.vector=null", "env.options.quality=null"]
    config = load_config(write("walk.yaml", text), nulls)
    assert config.agent["loss_scales"] == {"reward": 2.0}
    assert config.env.options == {"kwargs": {"camera": None}}


def test_bases_are_relative_to_the_file_that_names_them_and_later_ones_win(write: Write) -> None:
    write("bases/one.yaml", "extends: two.yaml\nseed: 1\n")
    write("bases/two.yaml", "seed: 2\nthreads: 2\ndevice: cpu\n")
    write("three.yaml", "threads: 3\n")
    file = write("walk.yaml", "extends: [bases/one.yaml, three.yaml]\n" + VALID)
    config = load_config(file)
    assert (config.seed, config.threads, config.device.name) == (1, 3, "cpu")


def test_one_base_may_be_reached_on_two_ways(write: Write) -> None:
    write("base.yaml", "seed: 1\n")
    write("left.yaml", "extends: base.yaml\n")
    write("right.yaml", "extends: base.yaml\nseed: 2\n")
    assert load_config(write("walk.yaml", "extends: [left.yaml, right.yaml]\n" + VALID)).seed == 2


def test_a_config_knows_the_files_it_came_from(write: Write, folder: Path) -> None:
    write("base.yaml", "seed: 1\n")
    config = load_config(write("walk.yaml", "extends: base.yaml\n" + VALID))
    assert config.source == (folder / "walk.yaml", folder / "base.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(folder: Path) -> None:
    (folder / "walk.yaml").write_text("\ufeff" + VALID, encoding="utf-8")
    assert load_config("walk.yaml").name == "walk"


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_valid_below_a_minimal_experiment(write: Write, name: str) -> None:
    file = write("walk.yaml", f"extends: {name}\n" + VALID.replace("agent: {type: toy}\n", ""))
    assert load_config(file, ["run.env_steps=300_000"]).source[1] == PRESETS / f"{name}.yaml"


@pytest.mark.parametrize("name", ["dreamer_v1", "dreamer_v2", "dreamer_v3"])
def test_an_agent_by_name_alone_is_that_of_its_preset(write: Write, name: str) -> None:
    bare = VALID.replace("agent: {type: toy}", f"agent: {name}")
    preset = f"extends: {name}\n" + VALID.replace("agent: {type: toy}\n", "")
    alone, extended = write("alone.yaml", bare), write("walk.yaml", preset)
    longer = ["run.env_steps=3_000"]
    assert load_config(alone, longer).agent == load_config(extended, longer).agent


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("env", {"num_envs": "5"}),
        ("env", {"num_envs": True}),
        ("env", {"num_envs": 1.0}),
        ("env", {"num_env": 1}),
        ("env", {"num_envs": 0}),
        ("run", {"env_steps": 10, "train_ratio": float("nan")}),
    ],
)
def test_a_config_built_in_python_is_held_to_the_same_types(
    section: str, changes: dict[str, object]
) -> None:
    parts = {
        "name": "walk",
        "agent": {},
        "env": {"task": "x"},
        "run": {"env_steps": 9, "prefill": 1},
    }
    parts[section] = {**parts[section], **changes}  # type: ignore[dict-item]
    with pytest.raises(ValidationError):
        Config(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "overrides",
    [
        ["run.env_steps=100", "run.prefill=99"],
        ["run.env_steps=201", "env.action_repeat=2", "run.prefill=100"],
        ["run.env_steps=100", "run.prefill=100", "run.train_ratio=0", "run.pretrain=0"],
    ],
)
def test_prefill_may_take_all_but_the_last_agent_step_and_all_where_nothing_is_learned(
    write: Write, overrides: list[str]
) -> None:
    assert load_config(write("walk.yaml", VALID), overrides).run.env_steps < 1_000


def test_a_config_cannot_be_changed(write: Write) -> None:
    config = load_config(write("walk.yaml", VALID))
    with pytest.raises(ValidationError):
        config.env.num_envs = 2  # type: ignore[misc]


def test_every_key_of_the_schema_is_explained() -> None:
    sections = Section.__subclasses__()
    assert Config in sections
    unexplained = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description
    ]
    assert unexplained == []
