"""A text that was cut shows it, and fits."""

from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.text.clip import ELLIPSIS, clipped


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Cs"]), max_size=60))
def test_a_cut_text_ends_with_an_ellipsis_and_fits(text: str) -> None:
    """In bytes, whatever the script, also with halves of surrogate pairs; one that fits stays."""
    short = clipped(text, 20)
    assert len(short.encode()) <= 20
    whole = text.encode("utf-8", "replace")
    assert (short.encode() == whole) == (len(whole) <= 20)
    assert short.endswith(ELLIPSIS) or len(whole) <= 20
    assert clipped(short, 20) == short
