"""Timing updates: made-up experiments, phases, and what `wmrun bench update` prints."""

from __future__ import annotations

import json
from typing import get_args

import pytest
import torch

from tests.cli.tiny import write_tiny
from wmrun.agents.phases import Phase
from wmrun.bench.synthetic import preset_config, random_batch, synthetic_spec
from wmrun.bench.update import OTHER, bench_update, env_spec
from wmrun.cli.app import main
from wmrun.config.load import load_config
from wmrun.errors import ExitCode
from wmrun.launch.parts import build_agent

CPU = torch.device("cpu")
SMALL = (
    "threads=1",
    "device=cpu",
    "agent.encoder.vector={layers: 1, units: 8}",
    "agent.decoder.vector={layers: 1, units: 8}",
    "agent.latent={groups: 2, classes: 3}",
    "agent.dynamics={deter: 8, hidden: 8}",
    "agent.reward_head={layers: 1, units: 8}",
    "agent.critic_head={layers: 1, units: 8}",
    "agent.actor.continuous={layers: 1, units: 8}",
    "replay={capacity: 100, batch_size: 2, batch_length: 4}",
)


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the rate of matrix products on small ones: these tests take no interest in it."""
    monkeypatch.setattr("wmrun.bench.floor._SIZES", {"cpu": (64,)})


def ends(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(("bench", "update", *arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_phases_and_other_add_up_to_the_update():
    bench = bench_update(preset_config("dreamer_v2", "vector", SMALL), synthetic_spec("vector"))
    assert tuple(bench.phases) == (*get_args(Phase), OTHER)
    for number, total in enumerate(bench.update.milliseconds):
        parts = {name: timing.milliseconds[number] for name, timing in bench.phases.items()}
        assert min(parts.values()) >= 0
        assert sum(parts.values()) == pytest.approx(total)
        assert sum(ms for name, ms in parts.items() if name != OTHER) <= total
    for name in ("world_model", "imagination", "actor_critic", "optimizer"):
        assert bench.phases[name].min > 0


def test_a_batch_has_the_shape_of_the_preset_unless_overridden():
    config = preset_config("dreamer_v2", "image", ("replay.batch_length=3",))
    spec = synthetic_spec("image")
    small = ("agent.encoder.image.depth=1", "agent.decoder.image.depth=1")
    agent = build_agent(preset_config("dreamer_v2", "image", small), spec, CPU)
    batch = random_batch(config, spec, agent)
    assert batch["image"].shape == (16, 3, 64, 64, 3)
    assert batch["image"].dtype == "uint8"
    assert batch["action"].shape == (16, 3, 6)
    assert batch["is_first"][:, 0].all()


def test_a_batch_has_the_rows_and_values_that_the_agent_wants_from_replay():
    config = preset_config("dreamer_v3", "vector", ("agent.size=1m", "replay.batch_length=3"))
    spec = synthetic_spec("vector")
    agent = build_agent(config, spec, CPU)
    batch = random_batch(config, spec, agent)
    assert agent.replay_context == 1
    assert {key: array.shape[:2] for key, array in batch.items()} == dict.fromkeys(batch, (16, 4))
    for key, (shape, dtype) in agent.replay_entries.items():
        assert (batch[key].shape[2:], batch[key].dtype) == (shape, dtype)


def test_a_file_is_timed_on_the_spaces_of_its_environments(tmp_path):
    spec = env_spec(load_config(write_tiny(tmp_path)))
    assert list(spec.obs_space) == ["vector"]


def test_the_tables_have_every_column(capsys):
    assert ends(*SMALL, "--agent", "dreamer_v2", "--updates", "2") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert "vector [24], batch 2 x 4, cpu, 1 thread" in lines[0]
    assert lines[2].split("  ")[0] == "phase"
    assert [line.split("  ")[0] for line in lines[4:10]] == [
        "update",
        "world model",
        "imagination",
        "actor critic",
        "optimizer",
        "other",
    ]
    columns = ("updates/s", "peak memory", "operations", "matrix products", "floor", "ratio")
    assert all(column in lines[11] for column in columns)
    assert "GFLOP/s float32" in lines[13]


def test_json_holds_the_figures(capsys):
    assert ends(*SMALL, "--agent", "dreamer_v2", "--updates", "2", "--json") == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    floor_s = sum(
        count / report["operations_per_s"][dtype] for dtype, count in report["operations"].items()
    )
    assert report["floor_ms"] == pytest.approx(1000 * floor_s)
    assert report["ratio"] == pytest.approx(report["ms_per_update"]["median"] / report["floor_ms"])
    assert report["batch"] == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--agent", "dreamer_v22"), "did you mean 'dreamer_v2'?"),
        (("--agent", "dreamer_v2", "--obs", "vectors"), "did you mean 'vector'?"),
        (("--agent", "dreamer_v2", "--size", "1m"), "dreamer_v2 has no published sizes"),
        (("tiny.yaml", "--obs", "image"), "Leave them out"),
    ],
)
def test_a_wrong_name_is_answered_with_the_closest_one(arguments, hint, capsys):
    assert ends(*arguments) == ExitCode.CONFIG
    assert hint in capsys.readouterr().err
