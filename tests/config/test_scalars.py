"""What plain YAML words mean."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmrun.config.scalars import read_scalar, write_float


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("1E6", 1e6),
        ("-2.5", -2.5),
        (".5", 0.5),
        ("3.", 3.0),
        ("1_000_000", 1_000_000),
        ("1_0.2_5", 10.25),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("no", "no"),
        ("y", "y"),
        ("12:30:45", "12:30:45"),
        ("2026-08-01", "2026-08-01"),
        ("1__0", "1__0"),
        ("_1", "_1"),
        ("1_", "1_"),
        ("1e", "1e"),
        ("e4", "e4"),
        (".", "."),
        ("nan", "nan"),
        ("walker-walk", "walker-walk"),
    ],
)
def test_a_word_means_what_yaml_1_2_says(word: str, value: object) -> None:
    read = read_scalar(word)
    assert read == value
    assert type(read) is type(value)


@given(st.floats(allow_nan=False))
def test_a_written_float_reads_back_as_the_same_float(value: float) -> None:
    read = read_scalar(write_float(value))
    assert isinstance(read, float)
    assert read == value


def test_not_a_number_reads_back_as_not_a_number() -> None:
    read = read_scalar(write_float(math.nan))
    assert isinstance(read, float)
    assert math.isnan(read)
