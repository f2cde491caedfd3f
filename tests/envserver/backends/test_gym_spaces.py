"""Every space of Gymnasium goes to the wire and back, value by value."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, EnvContractError
from wmrun_envserver.wire import messages, spaces, tensors

gymnasium = pytest.importorskip("gymnasium")

from wmrun_envserver.backends.gym_env import GymEnv  # noqa: E402
from wmrun_envserver.backends.gym_spaces import (  # noqa: E402
    from_gymnasium,
    leaves_of,
    observation_from_gymnasium,
    to_gymnasium,
)

GYM = gymnasium.spaces
NUMBERS = (
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
)


def nested(depth: int) -> Any:
    """Return Tuples and Dicts in turn, `depth` levels with the leaf."""
    space: Any = GYM.Discrete(5)
    for level in range(depth - 1):
        space = GYM.Tuple((space,)) if level % 2 else GYM.Dict({"in": space})
    return space


SPACES: dict[str, Any] = {
    **{f"box-{dtype}": GYM.Box(0, 1, (2, 3), np.dtype(dtype).type) for dtype in NUMBERS},
    "whole-int64": GYM.Box(-(2**63), 2**63 - 1, (2,), np.int64),
    "whole-uint64": GYM.Box(0, 2**64 - 1, (2,), np.uint64),
    "bounds-by-element": GYM.Box(np.array([-1, -np.inf]), np.array([1, np.inf]), dtype=np.float64),
    "box-of-no-axes": GYM.Box(-1, 1, (), np.float32),
    "empty-box": GYM.Box(-1, 1, (0, 3), np.float32),
    "picture": GYM.Box(0, 255, (8, 8, 3), np.uint8),
    "discrete": GYM.Discrete(3, start=-1),
    "multi-discrete": GYM.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    "multi-discrete-int8": GYM.MultiDiscrete([2, 3], dtype=np.int8),
    "multi-binary": GYM.MultiBinary([2, 1, 3]),
    "text": GYM.Text(9, min_length=0, charset="añ語🙂"),
    "tuple": GYM.Tuple((GYM.Discrete(2), GYM.Text(4, charset="ab"), GYM.Tuple(()))),
    "dict": GYM.Dict({"b": GYM.Discrete(2), "a": GYM.Dict({"x": GYM.Box(0, 1, (2,), np.float64)})}),
    "numbered-keys": GYM.Dict({1: GYM.Discrete(2), 2: GYM.MultiBinary(2)}),
    "deep": nested(15),  # the mirror adds a level
}
if "dtype" in signature(GYM.Discrete).parameters:  # not in Gymnasium 1.0
    SPACES["discrete-int32"] = GYM.Discrete(3, dtype=np.int32)
DEEP_TUPLE = GYM.Tuple((nested(15),))


class Mirror(gymnasium.Env):
    """Observes its last action and a sample of its own; the spaces are of one kind."""

    def __init__(self, space: Any) -> None:
        self.observation_space = GYM.Dict({"action": space, "sample": space})
        self.action_space = space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self.action_space.seed(seed)
        self.last = self.action_space.sample()
        return self._observe(), {}

    def step(self, action: Any) -> tuple:
        assert self.action_space.contains(action), repr(action)
        self.last = action
        return self._observe(), 0.0, False, False, {}

    def _observe(self) -> dict:
        self.drawn = self.action_space.sample()
        return {"action": self.last, "sample": self.drawn}


def equal(space: Any, one: Any, other: Any) -> bool:
    """Say whether two values of a Gymnasium space are the same, types of scalars included."""
    if isinstance(space, GYM.Dict):
        return all(equal(child, one[key], other[key]) for key, child in space.spaces.items())
    if isinstance(space, GYM.Tuple):
        return all(map(equal, space.spaces, one, other))
    if isinstance(space, GYM.Text):
        return type(one) is str and one == other
    return np.asarray(one).dtype == np.asarray(other).dtype and np.array_equal(one, other)


def over_the_wire(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the leaves as the other side reads them."""
    sent = [tensors.encode(np.asarray(array)).SerializeToString() for array in arrays]
    return [tensors.decode(messages.Tensor.FromString(data)) for data in sent]


@pytest.mark.parametrize("name", SPACES)
def test_values_of_every_space_come_back_as_they_went(name: str) -> None:
    simulator = Mirror(SPACES[name])
    env = GymEnv(simulator)
    assert spaces.decode_space(spaces.encode_space(env.observation_space)) == env.observation_space
    env.reset(0)
    rng = np.random.default_rng(0)
    for _ in range(10):
        value = spaces.sample(env.action_space, rng)
        action = [np.array(leaf) for leaf in spaces.flatten(env.action_space, value)]
        for leaf, array in zip(spaces.leaves(env.action_space), action, strict=True):
            spaces.check(leaf, array[None])
        obs = over_the_wire(list(env.step(over_the_wire(action)).obs))
        for taken, observed in zip(action, obs[: len(action)], strict=True):
            assert taken.dtype == observed.dtype
            np.testing.assert_array_equal(taken, observed)
        drawn = to_gymnasium(simulator.action_space, obs[len(action) :])
        assert equal(simulator.action_space, drawn, simulator.drawn)


def test_a_discrete_action_can_be_the_key_of_a_table() -> None:
    assert {-1: "left"}[to_gymnasium(GYM.Discrete(3, start=-1), [np.array(-1)])] == "left"


def test_every_gymnasium_space_has_its_wire_space() -> None:
    box = GYM.Box(np.array([-1, -np.inf]), np.array([1, np.inf]), dtype=np.float64)
    space = GYM.Dict(
        {
            "box": box,
            "camera": SPACES["picture"],
            "choice": GYM.Discrete(3, start=-1),
            "choices": GYM.MultiDiscrete([2, 3], start=[1, 0]),
            "flags": GYM.MultiBinary([2, 2]),
            "pair": GYM.Tuple((GYM.Discrete(2), GYM.Text(4, min_length=1, charset="ab"))),
        }
    )
    assert from_gymnasium(space) == spaces.Dict(
        (
            ("box", spaces.Box((2,), "float64", [-1, -np.inf], [1, np.inf], "VECTOR")),
            ("camera", spaces.Box((8, 8, 3), "uint8", 0, 255, "IMAGE_HWC")),
            ("choice", spaces.Discrete(3, start=-1)),
            ("choices", spaces.MultiDiscrete([2, 3], [1, 0])),
            ("flags", spaces.MultiBinary((2, 2))),
            ("pair", spaces.Tuple((spaces.Discrete(2), spaces.Text(1, 4, "ab")))),
        )
    )


@pytest.mark.parametrize(
    ("space", "key"),
    [
        (GYM.Box(-1, 1, (3,), np.float64), "vector"),
        (SPACES["picture"], "image"),
        (GYM.Discrete(4), "obs"),
        (SPACES["tuple"], "obs"),
    ],
)
def test_what_is_not_a_dict_is_observed_as_one_entry(space: Any, key: str) -> None:
    assert [name for name, _ in observation_from_gymnasium(space).entries] == [key]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            GYM.Dict({"a": GYM.Tuple((GYM.Sequence(GYM.Discrete(2)),))}),
            "has a Sequence space at 'a/0': it cannot be served",
        ),
        (GYM.Graph(GYM.Discrete(2), None), "has a Graph space: it cannot be served"),
        (
            GYM.Tuple((GYM.OneOf((GYM.Discrete(2), GYM.Discrete(3))),)),
            "has a OneOf space at '0': it cannot be served",
        ),
        (
            GYM.Dict({"x": GYM.Dict({"a/b": GYM.Discrete(2)})}),
            "space at 'x' cannot be served: Dict key 'a/b' is empty or holds a '/'",
        ),
        (
            GYM.Dict({"x": GYM.Box(0, 1, (2,), np.longdouble)}),
            "space at 'x' cannot be served: dtype (float128|longdouble)",
        ),
        (nested(17), "nested deeper than 16"),
    ],
)
def test_spaces_without_a_counterpart_are_refused(space: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_gymnasium(space)


def test_the_entry_around_a_tuple_counts_as_a_level() -> None:
    assert len(spaces.leaves(from_gymnasium(DEEP_TUPLE))) == 1
    with pytest.raises(ConfigError, match="nested deeper than 16"):
        observation_from_gymnasium(DEEP_TUPLE)


def dtypes_of(space: Any) -> list[np.dtype]:
    return [leaf.space.dtype for leaf in spaces.leaves(from_gymnasium(space))]


def leaf_of(space: Any, value: Any) -> np.ndarray:
    (array,) = leaves_of(space, dtypes_of(space), value)
    return array


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (GYM.Box(-1, 1, (2,), np.float32), np.array([0.1, 0.2]), np.float32([0.1, 0.2])),
        (GYM.Box(-1, 1, (2,), np.float32), [0.5, 1], np.float32([0.5, 1])),
        (GYM.Box(0, 9, (2,), np.float64), np.array([1, 2], np.uint8), np.array([1.0, 2.0])),
        (GYM.Box(0, 255, (2,), np.uint8), [7, 255], np.uint8([7, 255])),
        (GYM.Box(0, 9, (), np.float32), np.float64(0.5), np.float32(0.5)),
        (GYM.Discrete(3), 2, np.int64(2)),
        (GYM.Discrete(3), np.uint8(2), np.int64(2)),
        (GYM.MultiBinary(2), np.array([True, False]), np.int8([1, 0])),
        (GYM.Box(0, 1, (2,), bool), [1, 0], np.array([True, False])),
    ],
)
def test_numbers_of_another_dtype_are_converted_where_their_values_survive(
    space: Any, value: Any, expected: Any
) -> None:
    array = leaf_of(space, value)
    assert array.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (GYM.Box(0, 255, (2,), np.uint8), [7, 256]),
        (GYM.Box(0, 255, (2,), np.uint8), [7.0, 8.0]),
        (GYM.Discrete(3), 1.0),
        (GYM.Discrete(3), None),
        (GYM.Box(0, 1, (1,), bool), [2]),
        (GYM.Box(0, 1, (1,), np.float32), ["0.5"]),
    ],
)
def test_values_that_would_change_are_left_for_the_server_to_refuse(space: Any, value: Any) -> None:
    array = leaf_of(space, value)
    assert array.dtype == np.asarray(value).dtype != from_gymnasium(space).dtype
    np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (SPACES["dict"], {"b": 1}, r"the observation has \['b'\], not \['a', 'b'\]"),
        (SPACES["dict"], {"b": 1, "a": 2}, r"the observation at 'a' has int, not \['x'\]"),
        (GYM.Tuple((GYM.Discrete(2),)), (1, 2), "the observation has 2 items, not 1"),
    ],
)
def test_observations_of_another_shape_say_where(space: Any, value: Any, message: str) -> None:
    with pytest.raises(spaces.SpaceError, match=message):
        leaves_of(space, dtypes_of(space), value)


def test_a_space_that_changes_at_a_reset_is_an_error_naming_both() -> None:
    simulator = Mirror(GYM.Discrete(2))
    env = GymEnv(simulator)
    env.reset(0)
    simulator.action_space = GYM.Discrete(2)  # another object, the same space
    env.reset(0)
    simulator.action_space = GYM.Discrete(3)
    expected = r"changed its action space at a reset, from Discrete\(2\) to Discrete\(3\)"
    with pytest.raises(EnvContractError, match=expected):
        env.reset(0)


def test_a_reward_in_an_array_is_a_number_and_one_of_several_is_an_error() -> None:
    class Generous(Mirror):
        reward: Any = np.array([2.5])

        def step(self, action: Any) -> tuple:
            return self._observe(), self.reward, np.False_, np.True_, {}

    simulator = Generous(GYM.Discrete(2))
    env = GymEnv(simulator)
    env.reset(0)
    result = env.step([np.array(1)])
    assert (result.reward, result.terminated, result.truncated) == (2.5, False, True)
    simulator.reward = np.zeros(2)
    with pytest.raises(ValueError, match="size 1"):
        env.step([np.array(1)])
