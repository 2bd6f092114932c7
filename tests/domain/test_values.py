"""Values as bytes: canonical, exact, and readable without NumPy."""

import subprocess
import sys
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from limner.domain.digests import digest
from limner.domain.values import Value, at_path, decode, encode, finite, plain, value_digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
TYPES = ["<f4", "<f8", "<i4", "<i8", "|u1", "|i1", "<i2", "<u2", "<f2"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)
ARRAYS = st.sampled_from(TYPES).flatmap(lambda kind: arrays.arrays(kind, SHAPES))

#: What a process without NumPy reads of an array.
WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
from limner.domain.values import decode, encode
found = decode(bytes.fromhex(sys.argv[1]))
print(type(found).__module__, found.typecode, list(found), encode(found).hex() == sys.argv[1])
"""


def shuffled(value: Value) -> Value:
    """The same value with every dictionary in another order."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(PLAIN)
def test_equal_values_have_equal_bytes(value: Value) -> None:
    """The order of keys says nothing; what is read back is what was written."""
    data = encode(value)

    assert encode(shuffled(value)) == data
    assert encode(decode(data)) == data
    assert value_digest(value) == digest(data)


@given(ARRAYS)
def test_arrays_come_back_exactly(value: np.ndarray) -> None:
    """Type, shape and every bit of an array are kept, whatever its layout in memory."""
    found = decode(encode(value))

    assert (found.dtype.str, found.shape) == (value.dtype.newbyteorder("<").str, value.shape)
    assert found.tobytes() == value.tobytes()
    assert encode(np.asarray(value, order="F")) == encode(value)
    assert encode(value.astype(value.dtype.newbyteorder(">"))) == encode(value)


def test_numpy_scalars_are_numbers() -> None:
    """A number that NumPy made is a number like any."""
    assert encode({"a": np.float64(1.5), "b": np.int64(2), "c": np.bool_(True)}) == encode(
        {"a": 1.5, "b": 2, "c": True}
    )


@pytest.mark.parametrize("code", ["f", "d", "i", "q", "B", "b", "h", "H"])
def test_arrays_of_the_standard_library_are_stored_like_those_of_numpy(code: str) -> None:
    """An inferrer without NumPy answers with ``array.array``."""
    numbers = array(code, [0, 1, 2])

    assert encode(numbers) == encode(np.array(numbers))
    assert decode(encode(numbers)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "value", [np.array([1 + 2j]), np.array(["a"]), np.array([True]), object(), array("I", [1]), 2**70]
)
def test_value_that_cannot_be_stored_is_refused(value: object) -> None:
    """The sentence says what to answer with instead."""
    with pytest.raises((TypeError, OverflowError), match=r"stored|serialize"):
        encode(value)


def test_arrays_are_read_without_numpy() -> None:
    """A process that has no NumPy reads arrays as those of the standard library, and writes them back the same."""
    data = encode(np.array([1.5, 2.5], dtype="<f4")).hex()

    ran = subprocess.run([sys.executable, "-c", WITHOUT_NUMPY, data], capture_output=True, text=True, check=False)

    assert (ran.stdout.strip(), ran.stderr) == ("array f [1.5, 2.5] True", "")


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [1, float("inf")],
        {"a": {"b": -float("inf")}},
        np.array([1.0, np.nan]),
        np.float32("inf"),
        array("d", [1.0, float("nan")]),
    ],
)
def test_number_that_is_not_finite_is_found(value: Value) -> None:
    """However deep it stands."""
    assert not finite(value)


@pytest.mark.parametrize("value", [1, 1.5, "nan", None, [1, {"a": b"x"}], np.array([1, 2]), array("i", [1])])
def test_finite_values_are_finite(value: Value) -> None:
    """Numbers, texts, bytes and arrays of whole numbers."""
    assert finite(value)


def test_path_leads_into_dictionaries_only() -> None:
    """A step that is missing ends in nothing."""
    value = {"a": {"b": 1}, "c": [1]}

    assert at_path(value, ("a", "b")) == 1
    assert at_path(value, ()) == value
    assert [at_path(value, path) for path in (("a", "x"), ("c", "0"), ("a", "b", "c"))] == [None, None, None]


def test_plain_values_are_json() -> None:
    """Arrays become lists, bytes text, and keys strings."""
    assert plain({1: np.array([1, 2]), "b": b"\x0a", "t": (1, array("i", [3]))}) == {
        "1": [1, 2],
        "b": "0a",
        "t": [1, [3]],
    }


def test_digests_of_different_lists_differ() -> None:
    """Where one part ends and the next begins counts."""
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert digest([b"a", b""]) != digest([b"a"])
    assert digest([]) != digest([b""])
    assert len(digest(b"x")) == 16
