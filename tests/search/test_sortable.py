"""Filter values as bytes sort and compare as the values do."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from limner.search.conditions import Stored
from limner.search.sortable import FIRST_WORD, decoded, doubles, encoded

numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = numbers | words | st.sampled_from([b"", b"\x00", b"\x01"])


def rank(value: Stored) -> int:
    """Numbers before words before flags."""
    return 2 if isinstance(value, bytes) else 1 if isinstance(value, str) else 0


def less(one: Stored, other: Stored) -> bool:
    """What comes first, by the values themselves."""
    if rank(one) != rank(other):
        return rank(one) < rank(other)
    return one < other  # type: ignore[operator]  # both are of one kind


@given(values, values)
@example(2**53, 2**53 + 1)
@example(2**53 + 1, float(2**53))
@example(-(2**62) - 1, -(2**62))
@example(2**63 - 1, float(2**63))
@example(0.0, -0.0)
@example("", b"")
def test_bytes_sort_as_values_do(one: Stored, other: Stored) -> None:
    """One value is less than another exactly if its bytes are, and equal exactly if they are."""
    assert (encoded(one) < encoded(other)) == less(one, other)
    assert (encoded(one) == encoded(other)) == (rank(one) == rank(other) and one == other)
    assert (encoded(one) < FIRST_WORD) == (rank(one) == 0)


@given(values)
@example(2**63 - 1)
@example(1e300)
def test_a_value_comes_back(value: Stored) -> None:
    """What was made bytes is what the bytes are read as."""
    assert decoded(encoded(value)) == value


@given(st.lists(numbers, max_size=5))
def test_numbers_are_read_many_at_a_time(some: list[int | float]) -> None:
    """The bytes of many numbers in a row are read as their doubles."""
    assert doubles(b"".join(map(encoded, some))).tolist() == np.array([float(one) for one in some]).tolist()
