"""Arrays survive the wire bit for bit, and tensors that lie about themselves are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.tensors import TensorError, decode, encode

NUMERIC = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
]  # fmt: skip
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def over_the_wire(array: np.ndarray) -> np.ndarray:
    return decode(messages.Tensor.FromString(encode(array).SerializeToString()))


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_numeric_arrays_round_trip_bit_for_bit(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(NUMERIC))
    array = data.draw(hnp.arrays(dtype, shapes))
    received = over_the_wire(array)
    assert (received.dtype, received.shape) == (array.dtype, array.shape)
    assert received.tobytes() == array.tobytes()


@settings(deadline=None, derandomize=True)
@given(hnp.arrays(object, shapes, elements=st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_round_trip_with_every_code_point(array: np.ndarray) -> None:
    received = over_the_wire(array)
    assert received.shape == array.shape
    assert received.tolist() == array.tolist()


def test_data_is_little_endian_row_major_whatever_the_layout() -> None:
    expected = bytes([1, 0, 2, 0, 3, 0, 4, 0])
    for array in (
        np.array([[1, 2], [3, 4]], "<i2"),
        np.array([[1, 2], [3, 4]], ">i2"),
        np.array([[1, 3], [2, 4]], "<i2").T,
        np.array([[1, 0, 2], [3, 0, 4]], "<i2")[:, ::2],
    ):
        tensor = encode(array)
        assert (tensor.dtype, list(tensor.shape), tensor.data) == (messages.INT16, [2, 2], expected)


def test_strings_are_length_prefixed_utf8() -> None:
    tensor = encode(np.array(["a", "é"]))
    assert tensor.dtype == messages.UTF8
    assert tensor.data == b"\x01\0\0\0a" + b"\x02\0\0\0\xc3\xa9"


def test_decoded_arrays_are_views_that_cannot_be_written() -> None:
    received = over_the_wire(np.zeros(3, np.float32))
    assert not received.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        received[0] = 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, np.complex64), "dtype complex64 has no counterpart in the protocol"),
        (np.array(["2020-01-01"], "M8[D]"), r"dtype datetime64\[D\] has no counterpart"),
        (np.array(["a", 1], object), "object array holds a int: only str can be sent"),
        (np.array(["\ud800"], object), r"'\\ud800' is not valid Unicode: surrogates not allowed"),
    ],
)
def test_unsendable_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        encode(array)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dtype": messages.FLOAT32, "shape": [2, 3], "data": bytes(20)},
            r"float32 tensor of shape \[2, 3\] needs 24 bytes, got 20",
        ),
        (
            {"dtype": messages.UINT8, "shape": [], "data": b""},
            r"uint8 tensor of shape \[\] needs 1 bytes, got 0",
        ),
        (
            {"dtype": messages.UINT8, "shape": [2**32 - 1] * 4, "data": b"x"},
            "needs 340282366604025813516997721482669850625 bytes, got 1",
        ),
        ({"shape": [1], "data": b"x"}, "unknown dtype DTYPE_UNSPECIFIED"),
        ({"dtype": 99, "data": b"x"}, "unknown dtype 99"),
        (
            {"dtype": messages.UINT8, "data": b"x", "encoding": messages.ZLIB},
            "encoding ZLIB was not negotiated: only RAW tensors are accepted here",
        ),
        ({"dtype": messages.BOOL, "shape": [2], "data": b"\x01\x02"}, "neither 0 nor 1"),
        (
            {"dtype": messages.UINT8, "shape": [0] * 80, "data": b""},
            r"shape \[0, 0, .*\] cannot be an array",
        ),
        (
            {"dtype": messages.UTF8, "shape": [0, 2**32 - 1, 2**32 - 1], "data": b""},
            r"shape \[0, 4294967295, 4294967295\] cannot be an array",
        ),
        (
            {"dtype": messages.UTF8, "shape": [2**31], "data": bytes(4)},
            r"utf8 tensor of shape \[2147483648\] needs at least 8589934592 bytes, got 4",
        ),
        (
            {"dtype": messages.UTF8, "shape": [1], "data": b"\x05\0\0\0abc"},
            "utf8 tensor ends inside element 0 of 1",
        ),
        (
            {"dtype": messages.UTF8, "shape": [1], "data": b"\x01\0\0\0abc"},
            "utf8 tensor has 2 bytes beyond its 1 elements",
        ),
        (
            {"dtype": messages.UTF8, "shape": [1], "data": b"\x01\0\0\0\xff"},
            "utf8 tensor element 0 is not UTF-8: invalid start byte",
        ),
    ],
)
def test_tensors_that_break_the_rules_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        decode(messages.Tensor(**fields))
