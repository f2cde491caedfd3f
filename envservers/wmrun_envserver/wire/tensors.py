"""Arrays to and from the `Tensor` message."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from wmrun_envserver.wire import messages

_DTYPES: dict[messages.DType, np.dtype] = {
    messages.FLOAT16: np.dtype("<f2"),
    messages.FLOAT32: np.dtype("<f4"),
    messages.FLOAT64: np.dtype("<f8"),
    messages.INT8: np.dtype("i1"),
    messages.INT16: np.dtype("<i2"),
    messages.INT32: np.dtype("<i4"),
    messages.INT64: np.dtype("<i8"),
    messages.UINT8: np.dtype("u1"),
    messages.UINT16: np.dtype("<u2"),
    messages.UINT32: np.dtype("<u4"),
    messages.UINT64: np.dtype("<u8"),
    messages.BOOL: np.dtype("?"),
    messages.UTF8: np.dtype("O"),
}
_CODES: dict[np.dtype, messages.DType] = {dtype: code for code, dtype in _DTYPES.items()}

TEXT = _DTYPES[messages.UTF8]
"""The dtype of decoded UTF8 tensors: object arrays of `str`."""

ReadShared = Callable[[int, int], bytes]
"""Returns the bytes of a shared file at an offset, of a length; raises `TensorError`."""


class TensorError(ValueError):
    """An array does not fit a `Tensor`, or a `Tensor` does not hold the array that it promises."""


def encode(array: np.ndarray) -> messages.Tensor:
    """Return `array` as a message; its data is copied once.

    Accepts the numeric and bool dtypes of the protocol in any byte order and memory layout, and
    strings (dtype `U`, or object arrays of `str`). Raises `TensorError` for other dtypes.
    """
    code = _CODES.get(array.dtype)
    if code is None:
        return encode(_converted(array))
    data = _pack_text(array) if code == messages.UTF8 else array.tobytes()
    return messages.Tensor(dtype=code, shape=array.shape, data=data)


def decode(tensor: messages.Tensor, read_shared: ReadShared | None = None) -> np.ndarray:
    """Return the array that `tensor` holds, as a read-only view of the message's bytes.

    `read_shared` is where SHM tensors may be, if anywhere. Raises `TensorError` unless dtype,
    encoding and length are exactly right.
    """
    dtype = dtype_of(tensor.dtype)
    if tensor.encoding == messages.RAW:
        data = tensor.data
    elif tensor.encoding == messages.SHM and read_shared is not None:
        data = read_shared(tensor.shm_offset, tensor.shm_length)
    else:
        name = _enum_name(messages.Encoding, tensor.encoding)
        raise TensorError(f"encoding {name} was not negotiated: only RAW tensors are accepted here")
    shape = tuple(tensor.shape)
    if tensor.dtype == messages.UTF8:
        return _unpack_text(data, shape)
    expected = prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise TensorError(
            f"{dtype.name} tensor of shape {list(shape)} needs {expected} bytes, got {len(data)}"
        )
    array = _array(shape, dtype, data)
    if tensor.dtype == messages.BOOL and array.size and array.view(np.uint8).max() > 1:
        raise TensorError("bool tensor holds a byte that is neither 0 nor 1")
    return array


def dtype_of(code: messages.DType) -> np.dtype:
    """Return the NumPy dtype of a `DType` value; raises `TensorError` where it names none."""
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise TensorError(f"unknown dtype {_enum_name(messages.DType, code)}")
    return dtype


def code_of(dtype: np.dtype) -> messages.DType:
    """Return the `DType` value of a NumPy dtype; raises `TensorError` where there is none."""
    code = _CODES.get(dtype)
    if code is None:
        raise TensorError(f"dtype {dtype} has no counterpart in the protocol")
    return code


def _converted(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "U":
        return array.astype(TEXT)
    native = array.dtype.newbyteorder("<")
    if native not in _CODES:
        raise TensorError(f"dtype {array.dtype} has no counterpart in the protocol")
    return array.astype(native)


def _array(shape: tuple[int, ...], dtype: np.dtype, data: bytes) -> np.ndarray:
    try:
        return np.ndarray(shape, dtype, buffer=data)
    except ValueError as error:  # more dimensions, or larger ones beside a 0, than NumPy can index
        raise TensorError(f"shape {list(shape)} cannot be an array: {error}") from None


def _pack_text(array: np.ndarray) -> bytes:
    packed = bytearray()
    for text in array.flat:
        if not isinstance(text, str):
            raise TensorError(f"object array holds a {type(text).__name__}: only str can be sent")
        encoded = _utf8(text)
        packed += len(encoded).to_bytes(4, "little") + encoded
    return bytes(packed)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TensorError(f"string {text!r} is not valid Unicode: {error.reason}") from None


def _unpack_text(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    count = prod(shape)
    # Checked before an array is made: four bytes per element bound its size by that of the message.
    if len(data) < 4 * count:
        raise TensorError(
            f"utf8 tensor of shape {list(shape)} needs at least {4 * count} bytes, got {len(data)}"
        )
    texts, position = [], 0
    for index in range(count):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        if position > len(data):
            raise TensorError(f"utf8 tensor ends inside element {index} of {count}")
        texts.append(_text(data[start:position], index))
    if position != len(data):
        raise TensorError(
            f"utf8 tensor has {len(data) - position} bytes beyond its {count} elements"
        )
    try:
        array = np.array(texts, TEXT).reshape(shape)
    except ValueError as error:
        raise TensorError(f"shape {list(shape)} cannot be an array: {error}") from None
    array.flags.writeable = False
    return array


def _text(encoded: bytes, index: int) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise TensorError(f"utf8 tensor element {index} is not UTF-8: {error.reason}") from None


def _enum_name(enum: type, value: int) -> str:
    names: dict[int, str] = {number: name for name, number in enum.items()}  # type: ignore[attr-defined]
    return names.get(value, str(value))
