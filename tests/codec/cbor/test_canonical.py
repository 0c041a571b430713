"""Any bytes are either the one encoding of a value or `Malformed`."""

from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pool.codec.cbor import canonical
from p2pool.model import limits
from p2pool.model.errors import Malformed

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(canonical.INTEGER_MIN, canonical.INTEGER_MAX)
    | st.binary(max_size=30)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, canonical.INTEGER_MAX), inner, max_size=4)
    ),
    max_leaves=12,
)


def outcome(data: bytes) -> Any:
    """The decoded value, or the class of the refusal."""
    try:
        return canonical.decode(data)
    except Malformed as refusal:
        return type(refusal)


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    """Nothing but `Malformed` gets out, and a value encodes to the very bytes."""
    value = outcome(data)
    assert value is Malformed or canonical.encode(value) == data


@given(values)
def test_values_come_back(value: Any) -> None:
    """Encoding and decoding are inverse."""
    assert canonical.decode(canonical.encode(value)) == value


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(anything)
def test_other_cbor_is_refused_or_the_same(value: Any) -> None:
    """What a general encoder writes is refused, or it is our form."""
    try:
        data = cbor2.dumps(value)
    except UnicodeEncodeError:
        return
    decoded = outcome(data)
    assert decoded is Malformed or canonical.encode(decoded) == data


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("float", "f97e00"),
        ("float64", "fb3ff0000000000000"),
        ("bignum tag", "c249010000000000000000"),
        ("decimal tag of absurd exponent", "c48219ffff01"),
        ("e-mail tag", "d82460"),
        ("shared reference tag", "d81c80"),
        ("indefinite array", "9fff"),
        ("indefinite bytes", "5f4100ff"),
        ("undefined", "f7"),
        ("simple value", "e0"),
        ("break", "ff"),
        ("integer not shortest", "1800"),
        ("length not shortest", "580100"),
        ("unsorted map", "a202000100"),
        ("duplicate key", "a201000100"),
        ("text key", "a1616100"),
        ("negative key", "a12000"),
        ("array as key", "a18000"),
        ("map as key", "a1a000"),
        ("trailing byte", "0000"),
        ("truncated", "8201"),
        ("length of an exabyte", "7b7fffffffffffffff"),
        ("array of an exabyte", "9b7fffffffffffffff00"),
        ("below 64 bits", "3bffffffffffffffff"),
        ("not UTF-8", "62c328"),
        ("surrogate", "63eda080"),
        ("too deep", "81" * (limits.CBOR_MAX_DEPTH + 1) + "00"),
        ("very deep", "81" * 100_000 + "00"),
    ],
)
def test_refused(what: str, data: str) -> None:
    """Each thing that the canonical form has no place for is refused."""
    assert outcome(bytes.fromhex(data)) is Malformed, what


@pytest.mark.parametrize("value", [1.5, 2**64, -(2**63) - 1, {"a": 1}, {1, 2}, "\ud800", {-1: 0}])
def test_not_encoded(value: Any) -> None:
    """What would not be taken is not sent."""
    with pytest.raises(Malformed):
        canonical.encode(value)


def test_deepest() -> None:
    """The bound on depth is the stated one."""
    data = b"\x81" * limits.CBOR_MAX_DEPTH + b"\x00"
    assert canonical.encode(canonical.decode(data)) == data


@given(st.lists(st.integers(0, 2**32)) | st.integers(0, 70_000).map(lambda n: [0] * n))
def test_values_join_to_the_array_of_them(values: list[int]) -> None:
    """Heads of every width."""
    assert canonical.join([canonical.encode(value) for value in values]) == canonical.encode(values)
