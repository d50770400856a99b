"""Numbers keep every digit, as int64, float64 or numbers of Python."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.exact import (
    are_told_apart,
    as_objects,
    joined,
    numbers_of,
    on_a_grid,
    sort_numbers,
)

EXACT = Context(prec=200)
SCALES = st.integers(0, 30)
MANTISSAS = st.integers(-(10**45), 10**45) | st.integers(-(2**64), 2**64) | st.integers(-99, 99)


def shown(values: Any) -> list[Decimal]:
    """The numbers as they are written."""
    return [Decimal(repr(value) if isinstance(value, float) else value) for value in values]


@given(mantissas=st.lists(MANTISSAS, min_size=1, max_size=9), scale=SCALES)
def test_decimals_keep_their_digits(mantissas: list[int], scale: int) -> None:
    decimals = [Decimal(mantissa).scaleb(-scale, EXACT) for mantissa in mantissas]
    values = numbers_of(pa.array([*decimals, None], pa.decimal256(76, scale)))

    if values.dtype == np.float64:
        # floats hold them: no two that differ in a digit that counts are one
        assert [float(decimal) for decimal in decimals] == values.tolist()
        assert all(Fraction(v) == d for v, d in zip(values, decimals, strict=True) if d == int(d))
    else:
        assert list(map(float, values)) == list(map(float, decimals))
        assert all(isinstance(value, int | float | Decimal) for value in values.tolist())
    fits = all(d == int(d) and -(2**63) <= d < 2**63 for d in decimals)
    assert (values.dtype == np.int64) == fits


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_unsigned_numbers_keep_their_digits(numbers: list[int]) -> None:
    values = numbers_of(pa.array([None, *numbers], pa.uint64()))

    assert values.tolist() == numbers
    assert (values.dtype == np.int64) == all(number < 2**63 for number in numbers)


@pytest.mark.parametrize("dtype", [pa.decimal64(18, 2), pa.decimal128(38, 20), pa.decimal32(9, 2)])
def test_decimals_that_floats_hold_are_floats(dtype: pa.DataType) -> None:
    values = numbers_of(pa.array([Decimal("0.1"), Decimal("1234567.25"), None], dtype))

    assert values.dtype == np.float64
    assert values.tolist() == [0.1, 1234567.25]


def test_a_float_cast_to_a_decimal_is_the_float() -> None:
    floats = pa.array([0.1, 1 / 3, 2.5])

    assert numbers_of(floats.cast(pa.decimal128(38, 20))).tolist() == floats.to_pylist()


def test_narrow_decimals_of_many_digits_are_told_apart() -> None:
    values = [Decimal("0.100000000000000001"), Decimal("0.100000000000000002")]

    assert numbers_of(pa.array(values, pa.decimal64(18, 18))).tolist() == values


def test_parts_of_one_column_are_joined_by_their_digits() -> None:
    ints, floats = np.array([2**60 + 1]), np.array([0.1])
    large = numbers_of(pa.array([2**63], pa.uint64()))

    assert joined([ints, large, floats]).tolist() == [2**60 + 1, 2**63, Decimal("0.1")]
    assert as_objects(floats).tolist() == [Decimal("0.1")]
    assert joined([large, np.array([np.nan, 0.5])]).dtype == np.float64


def test_chunks_of_a_column_are_sorted_by_their_digits() -> None:
    chunks = [pa.array([2**60 + 1, None], pa.uint64()), pa.array([2**64 - 1, 2**60], pa.uint64())]

    column = sort_numbers(chunks)
    assert column.values.tolist() == [2**60, 2**60 + 1, 2**64 - 1]
    assert (column.n_rows, column.n_missing) == (4, 1)


def objects(values: list[Any]) -> Any:
    return numbers_of(pa.array(list(map(Decimal, values)), pa.decimal256(76, 20)))


def test_a_grid_is_of_whole_numbers_if_nearly_all_are() -> None:
    few, many = objects([*range(2**60, 2**60 + 99), 2**70]), objects([2**60 + 1, 2**70])

    assert on_a_grid(few).tolist() == list(range(2**60, 2**60 + 99))
    assert on_a_grid(many).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "are_numbers"),
    [
        ([2**60 + i for i in range(99)] + [2**70], True),
        ([10**30 + i for i in range(99)], False),
        ([10**30 + 10**25 * i + 1 for i in range(99)], True),
        # of few each may matter
        ([10**30 + 10**25 * i + 1 for i in range(9)], False),
        ([f"{i}.5" for i in range(99)] + ["1.00000000000000000001"], True),
    ],
)
def test_numbers_are_quantities_if_a_grid_tells_them_apart(
    values: list[Any], are_numbers: bool
) -> None:
    assert are_told_apart(objects(values), few=50) is are_numbers
