import shutil

import pytest
import torch

from wmrun.errors import RunError
from wmrun.run.checkpoint import CheckpointStore


def write(store: CheckpointStore, step: int) -> None:
    store.write(step, {"agent": {"w": torch.full((2,), float(step))}}, {"step": step})


def test_a_checkpoint_gives_back_tensors_and_state(tmp_path):
    store = CheckpointStore(tmp_path)
    write(store, 7)
    checkpoint = store.find("last")
    assert checkpoint.env_steps == 7
    assert checkpoint.state() == {"step": 7}
    assert torch.equal(checkpoint.tensors("agent")["w"], torch.tensor([7.0, 7.0]))


def test_only_the_last_and_the_best_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        write(store, step)
        if step == 2:
            store.mark_best(store.find("last"), score=10.0)
    assert [checkpoint.env_steps for checkpoint in store.all()] == [2, 3, 4]
    assert store.find("best").env_steps == 2
    assert store.best_score() == 10.0


def test_a_checkpoint_without_its_done_marker_does_not_exist(tmp_path):
    store = CheckpointStore(tmp_path)
    write(store, 1)
    write(store, 2)
    (tmp_path / "step_000000000002" / "done").unlink()
    assert store.find("last").env_steps == 1


def test_a_write_that_was_cut_short_is_replaced(tmp_path):
    store = CheckpointStore(tmp_path)
    write(store, 5)
    shutil.copytree(tmp_path / "step_000000000005", tmp_path / ".partial_step_000000000006")
    write(store, 6)
    assert store.find("last").state() == {"step": 6}
    assert not list(tmp_path.glob(".partial*"))


def test_an_unknown_checkpoint_is_answered_with_those_that_exist(tmp_path):
    store = CheckpointStore(tmp_path)
    write(store, 3)
    with pytest.raises(RunError, match=r"no checkpoint '99'") as caught:
        store.find("99")
    assert "step_000000000003" in str(caught.value)


def test_an_empty_store_says_when_the_first_checkpoint_comes(tmp_path):
    with pytest.raises(RunError, match=r"run\.checkpoint_every"):
        CheckpointStore(tmp_path).find()


def test_damaged_tensors_are_named_with_their_file(tmp_path):
    store = CheckpointStore(tmp_path)
    write(store, 3)
    (tmp_path / "step_000000000003" / "agent.safetensors").write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"agent\.safetensors"):
        store.find().tensors("agent")
