"""Flat policy actions against the arrays that environments take."""

from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.wire import spaces

from wmrun.envs.actions import ActionAdapter
from wmrun.errors import EnvError


def test_box_is_flattened_in_row_major_order() -> None:
    adapter = ActionAdapter(spaces.Box((2, 3), low=-20, high=20))
    assert (adapter.size, adapter.discrete) == (6, False)
    (action,) = adapter.to_env(np.arange(12, dtype=np.float32).reshape(2, 6))
    assert action.dtype == np.float32
    assert action.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


def test_actions_are_clipped_to_the_bounds_unless_that_is_turned_off() -> None:
    space = spaces.Box((2,), low=-1, high=1)
    (clipped,) = ActionAdapter(space).to_env(np.array([[-3.0, 0.5]], np.float32))
    assert clipped.tolist() == [[-1.0, 0.5]]
    (unclipped,) = ActionAdapter(space, clip=False).to_env(np.array([[-3.0, 0.5]], np.float32))
    assert unclipped.tolist() == [[-3.0, 0.5]]


def test_box_without_dimensions_is_one_number() -> None:
    adapter = ActionAdapter(spaces.Box((), dtype="float64", low=0, high=2))
    (action,) = adapter.to_env(np.array([[0.5], [2.0]], np.float32))
    assert (adapter.size, action.dtype, action.tolist()) == (1, np.float64, [0.5, 2.0])


def test_integer_box_takes_the_nearest_value_in_bounds() -> None:
    adapter = ActionAdapter(spaces.Box((2,), dtype="uint8", low=0, high=3))
    (action,) = adapter.to_env(np.array([[-0.7, 1.6], [2.4, 9.0]], np.float32))
    assert action.dtype == np.uint8
    assert action.tolist() == [[0, 2], [2, 3]]


def test_discrete_is_one_hot_and_offset_by_its_start() -> None:
    adapter = ActionAdapter(spaces.Discrete(3, start=-1, dtype=np.dtype("int32")))
    assert (adapter.size, adapter.discrete) == (3, True)
    (action,) = adapter.to_env(np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32))
    assert (action.dtype, action.tolist()) == (np.int32, [-1, 1, 0])


def test_single_leaf_inside_a_dict_is_taken_as_that_leaf() -> None:
    adapter = ActionAdapter(spaces.Dict((("torque", spaces.Box((2,), low=-1, high=1)),)))
    (action,) = adapter.to_env(np.array([[0.25, -0.5]], np.float32))
    assert action.tolist() == [[0.25, -0.5]]


def test_multi_discrete_is_one_hot_vectors_in_row_major_order() -> None:
    space = spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 5], [0, -1]], dtype="int32")
    adapter = ActionAdapter(space)
    assert (adapter.size, adapter.discrete) == (9, True)
    (action,) = adapter.to_env(
        np.array([[0, 1, 0, 0, 1, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0, 1, 1, 0]], np.float32)
    )
    assert action.dtype == np.int32
    assert action.tolist() == [[[1, 7], [0, 0]], [[0, 6], [1, -1]]]


def test_multi_binary_is_a_choice_of_two_for_each_element() -> None:
    adapter = ActionAdapter(spaces.MultiBinary((2,)))
    (action,) = adapter.to_env(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], np.float32))
    assert (adapter.size, action.dtype, action.tolist()) == (4, np.int8, [[0, 1], [1, 1]])


def test_the_largest_action_of_an_int64_box_does_not_overflow() -> None:
    adapter = ActionAdapter(spaces.Box((1,), dtype="int64"))
    (action,) = adapter.to_env(np.array([[1e30], [-1e30]], np.float32))
    assert action[0, 0] > 2**62
    assert action[1, 0] < -(2**62)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Text(), "Text"),
        (
            spaces.Dict((("a", spaces.Discrete(2)), ("b", spaces.Box((3,))))),
            "Dict(a: Discrete(2), b: Box float32 [3])",
        ),
        (
            spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([2, 3]))),
            "Tuple(0: Discrete(2), 1: MultiDiscrete([2, 3]))",
        ),
        (spaces.Dict(()), "Dict()"),
    ],
    ids=["Text", "Dict", "Tuple", "empty"],
)
def test_other_spaces_are_refused_by_name(space: spaces.Space, words: str) -> None:
    with pytest.raises(EnvError) as caught:
        ActionAdapter(space)
    assert f"the action space {words} is not supported" in caught.value.message
    assert "several discrete choices make one MultiDiscrete" in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(1_000_000), r"actions of Discrete\(1000000\) are 1,000,000 numbers"),
        (spaces.Box((0,)), r"actions of Box float32 \[0\] are 0 numbers"),
        (spaces.MultiDiscrete(np.zeros(0, int)), r"actions of MultiDiscrete\(\[\]\) are 0 numbers"),
    ],
    ids=["many", "no entries", "no choices"],
)
def test_no_action_and_too_many_are_refused(space: spaces.Space, words: str) -> None:
    with pytest.raises(EnvError, match=words):
        ActionAdapter(space)


def test_random_box_actions_fill_their_bounds_and_stay_inside() -> None:
    low, high = np.array([-1, 0, 5], np.float32), np.array([1, 10, 6], np.float32)
    actions = ActionAdapter(spaces.Box((3,), low=low, high=high)).random(
        np.random.default_rng(0), 2000
    )
    assert actions.shape == (2000, 3)
    assert actions.dtype == np.float32
    assert (actions >= low).all()
    assert (actions <= high).all()
    np.testing.assert_allclose(actions.mean(0), (low + high) / 2, atol=0.02 * (high - low).max())


def test_random_actions_of_unbounded_elements_are_normal_and_respect_the_bound_there_is() -> None:
    space = spaces.Box((2,), low=np.array([-np.inf, 0], np.float32))
    actions = ActionAdapter(space).random(np.random.default_rng(0), 2000)
    assert abs(actions[:, 0].std() - 1) < 0.05
    assert (actions[:, 1] >= 0).all()


def test_random_discrete_actions_are_one_hot_and_uniform() -> None:
    actions = ActionAdapter(spaces.Discrete(4)).random(np.random.default_rng(0), 4000)
    assert actions.shape == (4000, 4)
    assert (actions.sum(-1) == 1).all()
    np.testing.assert_allclose(actions.mean(0), 0.25, atol=0.03)


def test_random_actions_repeat_with_the_generator() -> None:
    adapter = ActionAdapter(spaces.Box((2,), low=-1, high=1))
    first, again = (adapter.random(np.random.default_rng(7), 3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_random_multi_discrete_actions_choose_every_variable_uniformly() -> None:
    actions = ActionAdapter(spaces.MultiDiscrete([2, 4])).random(np.random.default_rng(0), 4000)
    assert actions.shape == (4000, 6)
    np.testing.assert_array_equal(actions[:, :2].sum(-1), 1)
    np.testing.assert_array_equal(actions[:, 2:].sum(-1), 1)
    np.testing.assert_allclose(actions.mean(0), [0.5] * 2 + [0.25] * 4, atol=0.03)


def test_random_actions_of_an_element_with_one_value_are_that_value() -> None:
    space = spaces.Box((2,), low=np.array([0.5, -1]), high=np.array([0.5, 1]))
    actions = ActionAdapter(space).random(np.random.default_rng(0), 50)
    assert set(actions[:, 0].tolist()) == {0.5}
    assert len(set(actions[:, 1].tolist())) == 50
