"""The file of tokens is read strictly, and its bytes are these."""

import json
from typing import Any

import pytest

from p2pool.codec.json.tokens import read_tokens, tokens_text
from p2pool.model import limits
from p2pool.model.access.tokens import ApiToken, TokenScope, token_digest
from p2pool.model.errors import Malformed, TooNew

TOKENS = (
    ApiToken(
        name="grafana",
        scope=TokenScope.METRICS,
        digest=token_digest("p2pool_" + "a" * 43),
        made_at_ms=1_800_000_000_000,
    ),
    ApiToken(
        name="laptop",
        scope=TokenScope.READ,
        digest=token_digest("p2pool_" + "b" * 43),
        made_at_ms=1,
        expires_at_ms=2,
        used_at_ms=3,
    ),
)
GOLDEN = b"""\
{
  "format": 1,
  "tokens": [
    {
      "name": "grafana",
      "scope": "metrics",
      "sha256": "e24f047999d933ee731d73f1314091e480232f66cc94695d91d119397e59dc30",
      "made_at_ms": 1800000000000,
      "expires_at_ms": 0,
      "used_at_ms": 0
    },
    {
      "name": "laptop",
      "scope": "read",
      "sha256": "2eab5248d604ef3e016cbd3c387eabdb4cf5329256bc5dee674d7065864e0d3e",
      "made_at_ms": 1,
      "expires_at_ms": 2,
      "used_at_ms": 3
    }
  ]
}
"""


def test_the_bytes_are_these() -> None:
    """What one version wrote the next one reads."""
    assert tokens_text(TOKENS) == GOLDEN
    assert read_tokens(GOLDEN) == TOKENS
    assert read_tokens(tokens_text(())) == ()


def row(**more: Any) -> dict[str, Any]:
    """A token of the file, changed."""
    first: dict[str, Any] = json.loads(GOLDEN)["tokens"][0]
    return first | more


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "format"),
        ({"format": "1", "tokens": []}, "format"),
        ({"format": True, "tokens": []}, "format"),
        ({"format": 1}, "no list"),
        ({"format": 1, "tokens": {}}, "no list"),
        ({"format": 1, "tokens": [], "more": 1}, "no list"),
        ({"format": 1, "tokens": [1]}, "other fields"),
        ({"format": 1, "tokens": [row(more=1)]}, "other fields"),
        ({"format": 1, "tokens": [row(name=5)]}, "no text"),
        ({"format": 1, "tokens": [row(name="A")]}, "no name"),
        ({"format": 1, "tokens": [row(scope="all")]}, "scope of token 1"),
        ({"format": 1, "tokens": [row(scope=[])]}, "scope of token 1"),
        ({"format": 1, "tokens": [row(sha256="00")]}, "digest"),
        ({"format": 1, "tokens": [row(sha256=1)]}, "no text"),
        ({"format": 1, "tokens": [row(made_at_ms=-1)]}, "time"),
        ({"format": 1, "tokens": [row(made_at_ms=True)]}, "time"),
        ({"format": 1, "tokens": [row(made_at_ms=2**64)]}, "time"),
        ({"format": 1, "tokens": [row(), row(sha256="00" * 32)]}, "one name"),
        ({"format": 1, "tokens": [row(), row(name="b")]}, "one digest"),
        ({"format": 1, "tokens": [1] * (limits.API_TOKENS_MAX + 1)}, "more than"),
    ],
)
def test_a_damaged_file_is_refused(told: Any, said: str) -> None:
    """Whichever part it is."""
    with pytest.raises(Malformed, match=said):
        read_tokens(json.dumps(told).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    """Without a traceback."""
    with pytest.raises(Malformed, match="JSON"):
        read_tokens(data)


def test_a_later_versions_file_is_told() -> None:
    """Not taken for a damaged one."""
    with pytest.raises(TooNew, match="format 2"):
        read_tokens(b'{"format": 2, "tokens": "whatever"}')
