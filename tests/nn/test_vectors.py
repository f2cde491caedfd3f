"""What becomes of observations that are not images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from wmrun.nn.vectors import Classes, Numbers, vector_inputs


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "uint8", "uint16", "int64", "bool"]
)
def test_numbers_of_any_dtype_become_float32(dtype: str) -> None:
    numbers = Numbers(Box((2,), dtype))
    row = numbers(torch.from_numpy(np.array([[0, 1], [1, 1]], dtype)))
    assert row.dtype == torch.float32
    assert row.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("space", "size"),
    [(Box(()), 1), (Box((3, 4)), 12), (Box((2, 1, 3), "bool"), 6), (MultiBinary((2, 2)), 4)],
    ids=["scalar", "matrix", "grid", "MultiBinary"],
)
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_numbers_of_any_shape_are_flattened(
    space: Box | MultiBinary, size: int, batch: tuple[int, ...]
) -> None:
    numbers = Numbers(space)
    assert numbers.size == size
    assert numbers(torch.ones(*batch, *space.shape)).shape == (*batch, size)


def test_numbers_are_in_row_major_order() -> None:
    numbers = Numbers(Box((2, 2)))
    assert numbers(torch.tensor([[[1.0, 2], [3, 4]]])).tolist() == [[1, 2, 3, 4]]


def test_a_class_is_one_hot_and_counted_from_its_start() -> None:
    classes = Classes(Discrete(3, start=-1))
    values = torch.tensor([[-1, 0], [1, 1]])
    assert classes.classes(values).tolist() == [[[0], [1]], [[2], [2]]]
    assert classes(values).tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]]


def test_the_one_hot_vectors_of_several_classes_stand_in_a_row() -> None:
    space = MultiDiscrete([[2, 3], [1, 2]], start=[[0, 5], [0, -1]], dtype="int8")
    classes = Classes(space)
    values = torch.tensor([[[1, 5], [0, -1]], [[0, 7], [0, 0]]], dtype=torch.int8)
    assert classes.size == 8
    assert classes.classes(values).tolist() == [[1, 0, 0, 0], [0, 2, 0, 1]]
    assert classes(values).tolist() == [[0, 1, 1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 1, 0, 1]]


def test_the_numbering_of_classes_follows_the_device_but_is_no_part_of_a_checkpoint() -> None:
    classes = Classes(Discrete(3))
    assert classes.state_dict() == {}
    assert classes.to("meta").start.is_meta


def test_inputs_keep_the_order_of_the_observation_space() -> None:
    obs_space: dict[str, Space] = {"zebra": Discrete(2), "ant": Box((3,)), "bee": MultiBinary((1,))}
    inputs = vector_inputs(obs_space, "the mlp encoder")
    assert list(inputs) == ["zebra", "ant", "bee"]
    assert [type(value) for value in inputs.values()] == [Classes, Numbers, Numbers]
