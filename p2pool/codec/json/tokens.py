"""The file of an agent's tokens, `tokens.json`.

    {"format": 1, "tokens": [{"name": "grafana", "scope": "metrics", "sha256": "<64 hex>",
                              "made_at_ms": 1, "expires_at_ms": 0, "used_at_ms": 0}]}

Reading is strict: of a file that somebody damaged nobody could say which tokens are void.
"""

import json
from collections.abc import Mapping
from typing import Any

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.hex import unhex
from p2pool.model import limits
from p2pool.model.access.tokens import ApiToken, Tokens, TokenScope, check_name
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.ids import DIGEST_BYTES, Digest

FORMAT = 1
_TIMES = ("made_at_ms", "expires_at_ms", "used_at_ms")
_KEYS = {"name", "scope", "sha256", *_TIMES}
_UINT64 = 2**64 - 1


def tokens_text(tokens: Tokens) -> bytes:
    """The file."""
    rows = [
        {
            "name": one.name,
            "scope": one.scope.value,
            "sha256": one.digest.hex(),
            "made_at_ms": one.made_at_ms,
            "expires_at_ms": one.expires_at_ms,
            "used_at_ms": one.used_at_ms,
        }
        for one in tokens
    ]
    return (json.dumps({"format": FORMAT, "tokens": rows}, indent=2) + "\n").encode()


def read_tokens(data: bytes) -> Tokens:
    """The tokens in a file; `Malformed` says what is wrong with it, `TooNew` that a later version
    wrote it."""
    try:
        text = data.decode()
        if too_deep(text):
            raise ValueError("nested too deeply")
        told = json.loads(text)
    except ValueError as error:
        raise Malformed(f"it is not JSON ({error})") from error
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise Malformed("it does not say its format")
    if told["format"] > FORMAT:
        raise TooNew(f"it has format {told['format']}, and this version knows {FORMAT}")
    rows = told.get("tokens")
    if set(told) != {"format", "tokens"} or not isinstance(rows, list):
        raise Malformed("it is no list of tokens")
    if len(rows) > limits.API_TOKENS_MAX:
        raise Malformed(f"it has more than {limits.API_TOKENS_MAX} tokens")
    found = tuple(_token(row, place) for place, row in enumerate(rows, 1))
    if len({one.name for one in found}) < len(found):
        raise Malformed("two tokens have one name")
    if len({one.digest for one in found}) < len(found):
        raise Malformed("two tokens have one digest")
    return found


def _token(row: Any, place: int) -> ApiToken:
    if not isinstance(row, dict) or set(row) != _KEYS:
        raise Malformed(f"token {place} has other fields than {', '.join(sorted(_KEYS))}")
    if not all(type(row[name]) is int and 0 <= row[name] <= _UINT64 for name in _TIMES):
        raise Malformed(f"a time of token {place} is none")
    if not isinstance(row["name"], str) or not isinstance(row["sha256"], str):
        raise Malformed(f"the name or the digest of token {place} is no text")
    digest = unhex(row["sha256"], DIGEST_BYTES)
    if digest is None:
        raise Malformed(f"the digest of token {place} is none")
    if row["scope"] not in list(TokenScope):
        raise Malformed(f"the scope of token {place} is none of {', '.join(TokenScope)}")
    times: Mapping[str, int] = {name: row[name] for name in _TIMES}
    return ApiToken(
        name=check_name(row["name"]),
        scope=TokenScope(row["scope"]),
        digest=Digest(digest),
        **times,
    )
