from pathlib import Path

from tests.cli.tiny import write_tiny
from wmrun.config.load import load_config
from wmrun.launch.changes import changed_keys


def test_changed_keys_are_named_by_their_dotted_path_with_both_values(tmp_path: Path):
    file = write_tiny(tmp_path)
    before = load_config(file)
    after = load_config(file, ["run.env_steps=120", "agent.continue_head={type: bernoulli}"])
    changes = changed_keys(before, after)
    assert changes["run.env_steps"] == (60, 120)
    assert changes["agent.continue_head.type"] == (None, "bernoulli")
    assert not any(key.startswith("env.") for key in changes)


def test_the_same_experiment_has_no_changes(tmp_path: Path):
    config = load_config(write_tiny(tmp_path))
    assert changed_keys(config, config) == {}
