"""How deep JSON is nested, found before a parser recurses into it."""

import time

import pytest

from p2pool.codec.json.depth import too_deep

LONG = 32_000
BOUND_S = 0.5


@pytest.mark.parametrize(
    "text",
    [
        "[]" * 70 + '"' + '\\"' * LONG,
        "[]" * 70 + '"' + "\\" * LONG,
        "[]" * 70 + '"a' * LONG,
        "[]" * 70 + '"' * (LONG + 1),
        "{" * 10 + '"' + '\\"' * LONG,
    ],
    ids=["escaped-quotes", "backslashes", "quotes", "empty-texts", "objects"],
)
def test_a_text_without_an_end_is_read_once(text: str) -> None:
    """A text that is never closed costs one reading, not one for each quote in it: 64 KiB of quotes
    once stopped an agent for thirteen seconds."""
    began_s = time.thread_time()
    too_deep(text)
    assert time.thread_time() - began_s < BOUND_S


def test_brackets_in_texts_do_not_count() -> None:
    """Only arrays and objects nest, whatever the texts between them hold."""
    assert not too_deep('["[[[[", {"a": "\\"[[["}]', most=2)
    assert too_deep('["]]]]", {"a": ["\\"]]]"]}]', most=2)
