"""Spaces survive the wire, number their leaves, and refuse what contradicts them."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.spaces import SpaceError

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
roles = st.sampled_from(["ROLE_UNSPECIFIED", "IMAGE_HWC", "VECTOR", "ACTION_MASK", "LOG_ONLY"])
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = draw(st.sampled_from([*INTEGERS, *FLOATS, "bool"]))
    shape = draw(shapes)
    bound_shape = draw(st.sampled_from([(), shape]))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if dtype in FLOATS:
        values = rng.choice([-np.inf, -1.5, 0.0, 2.25, np.inf], (2, *bound_shape))
    elif dtype == "bool":
        values = rng.integers(0, 2, (2, *bound_shape)).astype(bool)
    else:
        info = np.iinfo(dtype)
        values = rng.choice(np.array([info.min, 0, 7, info.max], dtype), (2, *bound_shape))
    low, high = np.sort(values, axis=0)
    if dtype in FLOATS:  # an interval of one infinity has no value to draw
        low, high = np.where(low == np.inf, 0, low), np.where(high == -np.inf, 0, high)
    return spaces.Box(shape, dtype, low, high, draw(roles))


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    shape = draw(shapes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = rng.integers(0, 50, shape)
    dtype = draw(st.sampled_from(INTEGERS))
    return spaces.MultiDiscrete(rng.integers(1, 50, shape), start, dtype, draw(roles))


discretes = st.builds(
    spaces.Discrete,
    n=st.integers(1, 100),
    start=st.integers(0, 28),
    dtype=st.sampled_from(INTEGERS),
    role=roles,
)
multi_binaries = st.builds(spaces.MultiBinary, shape=shapes, role=roles)
texts = st.builds(
    spaces.Text,
    min_length=st.integers(0, 3),
    max_length=st.integers(3, 9),
    charset=st.sampled_from(["", "ab", "é/"]),
    role=roles,
)
leaf_spaces = boxes() | discretes | multi_discretes() | multi_binaries | texts
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1)
any_space = st.recursive(
    leaf_spaces,
    lambda children: (
        st.dictionaries(keys, children, max_size=3).map(lambda d: spaces.Dict(tuple(d.items())))
        | st.lists(children, max_size=3).map(lambda items: spaces.Tuple(tuple(items)))
    ),
    max_leaves=6,
)


def nested(depth: int) -> spaces.Space:
    space: spaces.Space = spaces.Discrete(2)
    for _ in range(depth - 1):
        space = spaces.Tuple((space,))
    return space


@settings(deadline=None, derandomize=True)
@given(any_space)
def test_spaces_round_trip(space: spaces.Space) -> None:
    wire = spaces.encode_space(space).SerializeToString()
    received = spaces.decode_space(messages.Space.FromString(wire))
    assert received == space
    assert hash(received) == hash(space)
    assert spaces.leaves(received) == spaces.leaves(space)


@settings(deadline=None, derandomize=True)
@given(any_space, st.integers(0, 2**32 - 1))
def test_samples_belong_to_their_space_and_round_trip(space: spaces.Space, seed: int) -> None:
    value = spaces.sample(space, np.random.default_rng(seed))
    arrays = spaces.flatten(space, value)
    for leaf, array in zip(spaces.leaves(space), arrays, strict=True):
        assert (array.dtype, array.shape) == (leaf.space.dtype, leaf.space.shape)
        batch = np.stack([array, array])
        received = tensors.decode(tensors.encode(batch))
        spaces.check(leaf, received)
        assert np.array_equal(received, batch)
    again = spaces.flatten(space, spaces.unflatten(space, arrays))
    assert all(a is b for a, b in zip(again, arrays, strict=True))


def test_samples_reach_both_ends_of_their_range() -> None:
    rng = np.random.default_rng(0)
    drawn = {int(spaces.sample(spaces.Discrete(3, start=-1), rng)) for _ in range(100)}
    assert drawn == {-1, 0, 1}
    uniform = spaces.sample(spaces.Box((10_000,), "float32", -2, 4), rng)
    assert uniform.min() < -1.99
    assert uniform.max() > 3.99
    assert abs(float(uniform.mean()) - 1) < 0.1


def test_leaves_are_numbered_depth_first_in_listed_order() -> None:
    space = spaces.Dict(
        (
            ("z", spaces.Discrete(2)),
            ("a", spaces.Tuple((spaces.MultiBinary((1,)), spaces.Dict((("k", spaces.Text()),))))),
        )
    )
    assert [leaf.path for leaf in spaces.leaves(space)] == ["z", "a/0", "a/1/k"]
    assert [leaf.path for leaf in spaces.leaves(spaces.Discrete(2))] == [""]


def test_spec_hash_is_the_sha256_of_both_serialized_spaces() -> None:
    obs, act = spaces.MultiBinary((2,)), spaces.Discrete(3)
    # multi_binary {shape: 2}, then discrete {n: 3, dtype: INT64}
    serialized = bytes.fromhex("2203 0a0102") + bytes.fromhex("1204 0803 1806")
    assert spaces.spec_hash(obs, act) == sha256(serialized).hexdigest()
    assert spaces.spec_hash(obs, act) != spaces.spec_hash(act, obs)


def test_equal_bounds_given_as_scalar_or_array_are_one_space() -> None:
    scalar = spaces.Box((2,), "uint8", 0, 255)
    assert spaces.Box((2,), "uint8", [0, 0], [255, 255]) == scalar == spaces.Box((2,), "uint8")
    assert scalar.low.shape == ()
    assert spaces.Box((2,), "uint8", [0, 1], 255) != scalar


def test_roles_unknown_to_this_version_are_no_role() -> None:
    message = spaces.encode_space(spaces.Discrete(2))
    message.role = 99
    assert spaces.decode_space(message) == spaces.Discrete(2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: spaces.Box((2,), "float32", [0, 3], 1),
            r"Box has low > high: low is \[0.0, 3.0\]",
        ),
        (lambda: spaces.Box((2,), "float32", np.nan), "Box low is NaN"),
        (
            lambda: spaces.Box((2,), "float32", high=[1, 2, 3]),
            r"Box high has shape \[3\], expected a scalar or \[2\]",
        ),
        (lambda: spaces.Box((2,), "uint8", -1), "Box low -1 does not fit uint8"),
        (lambda: spaces.Box((2,), "uint8", 0.5), "Box low 0.5 does not fit uint8"),
        (lambda: spaces.Box((2,), "int32", 0, np.inf), "Box high inf does not fit int32"),
        (lambda: spaces.Box((-1,)), r"shape \[-1\] has a dimension outside 0 … 2\^32 - 1"),
        (lambda: spaces.Box((1,), "complex64"), "dtype complex64 has no counterpart"),
        (lambda: spaces.Box((1,), "O"), "a Box cannot hold text: use Text"),
        (
            lambda: spaces.Box((1,), role="PICTURE"),
            "unknown role 'PICTURE', expected one of ROLE_UN",
        ),
        (lambda: spaces.Discrete(0), "Discrete needs n >= 1, got 0"),
        (lambda: spaces.Discrete(300, dtype="uint8"), r"Discrete values 0 … 299 do not fit uint8"),
        (lambda: spaces.Discrete(2, dtype="float32"), "dtype float32 is not an integer type"),
        (lambda: spaces.MultiDiscrete([2, 0]), r"MultiDiscrete needs nvec >= 1, got \[2, 0\]"),
        (lambda: spaces.MultiDiscrete([2.5]), "MultiDiscrete nvec must hold integers, got float64"),
        (
            lambda: spaces.MultiDiscrete([2, 2], [1]),
            r"MultiDiscrete start has shape \[1\], nvec has \[2\]",
        ),
        (lambda: spaces.Text(3, 2), "Text needs 0 <= min_length <= max_length < 2^32, got 3 and 2"),
        (
            lambda: spaces.Dict((("a/b", spaces.Discrete(2)),)),
            "Dict key 'a/b' is empty or holds a '/'",
        ),
        (lambda: spaces.Dict((("", spaces.Discrete(2)),)), "Dict key '' is empty"),
        (
            lambda: spaces.Dict((("a", spaces.Discrete(2)), ("a", spaces.Discrete(3)))),
            "Dict key 'a' appears twice",
        ),
        (lambda: spaces.encode_space(nested(17)), "space is nested deeper than 16"),
    ],
)
def test_spaces_that_contradict_themselves_are_refused(build, message: str) -> None:
    with pytest.raises(SpaceError, match=message.replace("2^32, got", r"2\^32, got")):
        build()


def test_a_depth_of_sixteen_is_allowed() -> None:
    assert spaces.decode_space(spaces.encode_space(nested(16))) == nested(16)


def in_dict(child: messages.Space) -> messages.Space:
    outer = messages.Space()
    outer.dict.entries.add(key="arm").space.tuple.items.add().CopyFrom(child)
    return outer


def box_message(**fields: object) -> messages.Space:
    return messages.Space(box=messages.Space.Box(**fields))


def scalar(value: float, dtype: str = "float32") -> messages.Tensor:
    return tensors.encode(np.array(value, dtype))


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (messages.Space(), "space has no kind that this version knows"),
        (
            box_message(dtype=messages.FLOAT32, low=scalar(1), high=scalar(0)),
            "Box has low > high: low is 1.0, high is 0.0",
        ),
        (
            box_message(dtype=messages.FLOAT32, low=scalar(1), high=scalar(2, "float64")),
            "Box high has dtype FLOAT64, expected the Box's own, FLOAT32",
        ),
        (
            box_message(dtype=messages.FLOAT32, high=scalar(0)),
            "Box low has dtype DTYPE_UNSPECIFIED, expected the Box's own, FLOAT32",
        ),
        (box_message(), "unknown dtype DTYPE_UNSPECIFIED"),
        (
            messages.Space(
                multi_discrete=messages.Space.MultiDiscrete(
                    nvec=messages.Tensor(dtype=messages.INT64, shape=[2], data=b"x"),
                )
            ),
            r"int64 tensor of shape \[2\] needs 16 bytes, got 1",
        ),
    ],
)
def test_invalid_space_messages_are_refused_with_their_path(
    child: messages.Space, message: str
) -> None:
    with pytest.raises(SpaceError, match=f'^"arm/0": {message}') as caught:
        spaces.decode_space(in_dict(child))
    assert caught.value.path == "arm/0"
    with pytest.raises(SpaceError, match=f"^{message}"):
        spaces.decode_space(child)


def test_a_space_message_that_is_too_deep_is_refused() -> None:
    message = spaces.encode_space(nested(16))
    outer = messages.Space()
    outer.tuple.items.add().CopyFrom(message)
    with pytest.raises(SpaceError, match="space is nested deeper than 16"):
        spaces.decode_space(outer)


def test_flatten_refuses_values_nested_otherwise() -> None:
    space = spaces.Dict((("a", spaces.Tuple((spaces.Discrete(2),))),))
    with pytest.raises(SpaceError, match=r"expected the keys \['a'\], got \['b'\]"):
        spaces.flatten(space, {"b": (0,)})
    with pytest.raises(SpaceError, match=r"expected the keys .*, got list"):
        spaces.flatten(space, [0])
    with pytest.raises(SpaceError, match='"a": expected 1 items, got 2'):
        spaces.flatten(space, {"a": (0, 1)})
    with pytest.raises(SpaceError, match="expected 1 arrays, one per leaf, got 2"):
        spaces.unflatten(space, [np.zeros(()), np.zeros(())])


BOUNDED = spaces.Leaf("arm", spaces.Box((2,), "float32", [-1, -2], [1, 2]))


@pytest.mark.parametrize(
    ("leaf", "batch", "message"),
    [
        (
            BOUNDED,
            np.zeros((3, 2)),
            r'leaf "arm": expected float32 \[rows, 2\], got float64 \[3, 2\]',
        ),
        (BOUNDED, np.zeros((3,), "f4"), r"expected float32 \[rows, 2\], got float32 \[3\]"),
        (BOUNDED, np.zeros((), "f4"), r"expected float32 \[rows, 2\], got float32 \[\]"),
        (
            BOUNDED,
            np.array([[0, 0], [1, 2.5]], "f4"),
            r'leaf "arm", row 1, element \[1\]: 2.5 is not a finite value in \[-2.0, 2.0\]',
        ),
        (
            BOUNDED,
            np.array([[np.nan, 0]], "f4"),
            r"row 0, element \[0\]: nan is not a finite value",
        ),
        (
            spaces.Leaf("", spaces.Box((), "float64")),
            np.array([np.inf]),
            r"the only leaf, row 0: inf is not a finite value in \[-inf, inf\]",
        ),
        (
            spaces.Leaf("n", spaces.Discrete(3, start=1)),
            np.array([1, 3, 4]),
            r'leaf "n", row 2: 4 is not in \[1, 3\]',
        ),
        (
            spaces.Leaf("n", spaces.Discrete(3, start=1)),
            np.array([0]),
            r"row 0: 0 is not in \[1, 3\]",
        ),
        (
            spaces.Leaf("m", spaces.MultiDiscrete([2, 3], [0, 5])),
            np.array([[1, 7], [2, 7]]),
            r"row 1, element \[0\]: 2 is not in \[0, 1\]",
        ),
        (
            spaces.Leaf("b", spaces.MultiBinary((1,))),
            np.array([[2]], "i1"),
            r"2 is not in \[0, 1\]",
        ),
        (
            spaces.Leaf("t", spaces.Text(1, 2)),
            np.array(["abc"], object),
            'leaf "t", row 0: expected 1 to 2 characters, got 3',
        ),
        (
            spaces.Leaf("t", spaces.Text(charset="ab")),
            np.array(["ab", "axb"], object),
            "leaf \"t\", row 1: character 'x' is not in 'ab'",
        ),
        (
            spaces.Leaf("t", spaces.Text()),
            np.zeros(1),
            r"expected text \[rows\], got float64 \[1\]",
        ),
    ],
)
def test_values_outside_their_space_are_refused(
    leaf: spaces.Leaf, batch: np.ndarray, message: str
) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        spaces.check(leaf, batch)
    assert caught.value.path == leaf.path


def test_without_bounds_only_dtype_and_shape_are_checked() -> None:
    spaces.check(BOUNDED, np.array([[np.nan, 9]], "f4"), bounds=False)
    with pytest.raises(SpaceError, match="expected float32"):
        spaces.check(BOUNDED, np.zeros((1, 2)), bounds=False)


def test_every_value_of_a_full_range_integer_box_is_accepted() -> None:
    leaf = spaces.Leaf("image", spaces.Box((256,), "uint8", 0, 255, "IMAGE_HWC"))
    spaces.check(leaf, np.arange(256, dtype=np.uint8)[None])
    narrow = spaces.Leaf("image", spaces.Box((1,), "uint8", 0, 254))
    with pytest.raises(SpaceError, match=r"255 is not in \[0, 254\]"):
        spaces.check(narrow, np.array([[255]], np.uint8))
