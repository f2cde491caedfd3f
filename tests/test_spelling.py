"""What a misspelt word is taken for."""

from __future__ import annotations

import pytest

from wmrun.spelling import closest, edits


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ("cnn", "cnn", 0),
        ("cnn", "cn", 1),
        ("cnn", "can", 1),
        ("mpl", "mlp", 1),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("ca", "abc", 3),
    ],
)
def test_edits_count_inserts_deletes_replacements_and_neighbour_swaps(
    a: str, b: str, count: int
) -> None:
    assert edits(a, b) == edits(b, a) == count


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("num_env", "num_envs"),
        ("nmu_envs", "num_envs"),
        ("num-envs", "num_envs"),
        ("NUM_ENVS", "num_envs"),
        ("tsak", "task"),
        ("steps", "env_steps"),
        ("checkpoints_every", "checkpoint_every"),
        ("bernouli", "bernoulli"),
    ],
)
def test_a_typo_finds_the_word_that_was_meant(word: str, meant: str) -> None:
    names = ["num_envs", "task", "env_steps", "checkpoint_every", "bernoulli", "backend"]
    assert closest(word, names) == meant


@pytest.mark.parametrize("word", ["xyz", "lr", "", "a"])
def test_a_word_that_resembles_nothing_finds_nothing(word: str) -> None:
    assert closest(word, ["cnn", "multi", "gaussian"]) is None


def test_the_nearer_of_two_candidates_wins() -> None:
    assert closest("cnn_v", ["cnn", "cnn_v3", "mlp"]) == "cnn_v3"


def test_a_part_shared_by_several_candidates_decides_nothing() -> None:
    assert closest("rate", ["model_rate", "actor_rate"]) is None
