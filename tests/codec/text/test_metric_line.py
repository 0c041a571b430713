"""Lines of metrics are taken whole or refused with what is wrong; no line raises anything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.text.metric_line import parse_line
from p2pool.model import limits
from p2pool.model.errors import Malformed


def test_names_and_numbers_are_read_in_order() -> None:
    """Whole numbers too; and the form that other networks' tools write."""
    assert parse_line(b'{"loss": 0.5, "train/step": 3}') == (("loss", 0.5), ("train/step", 3.0))
    assert parse_line(b'{"label": "loss", "value": 2, "task_id": "x"}') == (("loss", 2.0),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"loss 0.5", "not JSON"),
        (b"[1]", "an object"),
        (b"{}", "an object"),
        (b'{"loss": "0.5"}', "not a number"),
        (b'{"loss": true}', "not a number"),
        (b'{"loss": NaN}', "not JSON"),
        (b'{"loss": 1e999}', "not a finite number"),
        (b'{"loss": ' + b"9" * 400 + b"}", "not a finite number"),
        (b'{"9loss": 1}', "not the name"),
        (b'{"lo ss": 1}', "not the name"),
        (b'{"' + b"a" * 65 + b'": 1}', "not the name"),
        (b'{"label": ["x"], "value": 1}', "not"),
        (b" " * (limits.METRIC_LINE_MAX_BYTES + 1), "bytes at most"),
        (b"[" * 4000, "not JSON"),
    ],
)
def test_what_is_wrong_is_told(line: bytes, said: str) -> None:
    """In a sentence."""
    with pytest.raises(Malformed) as refused:
        parse_line(line)
    assert said in refused.value.message


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=8,
    ).map(lambda v: json.dumps(v).encode())
)
def test_any_line_is_read_or_refused(line: bytes) -> None:
    """Whatever a task writes."""
    try:
        read = parse_line(line)
    except Malformed:
        return
    assert all(isinstance(value, float) for _, value in read)
