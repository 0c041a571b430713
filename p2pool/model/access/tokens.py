"""Tokens of an agent's API: what each opens, and what the agent keeps of it.

Intuition: a token is the key of a door, and a door is not a right. What changes the pool needs an
account's signature whoever brings it; a token says which doors of one agent its holder may use.
The scopes lie in each other: who may operate may read, and who may read may see the metrics.

Invariants: of a token its digest is kept and never its text, so nobody who reads the table, a
backup or an answer of the API can use one. The digest is a plain SHA-256: a token is 256 bits from
the system's generator, which nobody guesses however fast they hash; what slows down guesses of
passwords would slow down each request.
"""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum

import attrs

from p2pool.model import limits
from p2pool.model.errors import Conflict, Malformed, NotFound, TooMany
from p2pool.model.ids import Digest

PREFIX = "p2pool_"
"""Every token that is made by name begins with it, so that scanners of leaked secrets, and our own
log, know one when they see it."""
OWN_NAME = "api.token"
"""The token of the data directory, in lists: no other can be called so."""
NAME_RULE = "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class TokenScope(StrEnum):
    """What a token opens, from the least to the most."""

    METRICS = "metrics"
    READ = "read"
    OPERATE = "operate"

    def reaches(self, needed: "TokenScope") -> bool:
        """Whether it opens what needs this scope."""
        return _ORDER[self] >= _ORDER[needed]


_ORDER: Mapping[TokenScope, int] = {scope: place for place, scope in enumerate(TokenScope)}

MEANINGS: Mapping[TokenScope, str] = {
    TokenScope.METRICS: "Prometheus metrics and nothing else",
    TokenScope.READ: "all that is shown, events, and handing over what an account has signed",
    TokenScope.OPERATE: "everything, also what touches the agent's machine: volumes and tokens",
}


@attrs.frozen(kw_only=True)
class ApiToken:
    """What is kept of a token; times are Unix milliseconds, `expires_at_ms` 0: never."""

    name: str
    scope: TokenScope
    digest: Digest
    made_at_ms: int
    expires_at_ms: int = 0
    used_at_ms: int = 0

    def is_over(self, now_ms: int) -> bool:
        """Whether it has expired."""
        return 0 < self.expires_at_ms <= now_ms


Tokens = tuple[ApiToken, ...]


def token_digest(text: str) -> Digest:
    """By what a token is known."""
    return Digest(hashlib.sha256(text.encode()).digest())


def is_name(text: str) -> bool:
    """Whether a token can have this name."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """The name, if a token can have it; `Malformed` says why not."""
    if not is_name(name):
        raise Malformed(f"{name[:80]!r} is no name of a token.", hint=f"It has {NAME_RULE}.")
    return name


def added(tokens: Tokens, made: ApiToken) -> Tokens:
    """The tokens with one more, by name; in the place of one of its name that has expired."""
    kept = tuple(one for one in tokens if one.name != made.name or not one.is_over(made.made_at_ms))
    if any(one.name == made.name for one in kept):
        raise Conflict(
            f"There is a token {made.name!r} already.",
            hint=f"Choose another name, or revoke it: p2pool agent token revoke {made.name}",
        )
    if len(kept) >= limits.API_TOKENS_MAX:
        raise TooMany(
            f"The agent has {limits.API_TOKENS_MAX} tokens, and takes no more.",
            hint="Revoke some, expired ones too: p2pool agent token ls",
        )
    return tuple(sorted((*kept, made), key=lambda one: one.name))


def without(tokens: Tokens, name: str) -> Tokens:
    """The tokens without one."""
    kept = tuple(one for one in tokens if one.name != name)
    if len(kept) == len(tokens):
        raise absent(name)
    return kept


def made_token(
    tokens: Tokens, name: str, scope: TokenScope, text: str, now_ms: int, lifetime_s: int | None
) -> tuple[Tokens, ApiToken]:
    """The tokens with a new one that reads as `text`, and lives so long (None: until it is
    revoked)."""
    made = ApiToken(
        name=check_name(name),
        scope=scope,
        digest=token_digest(text),
        made_at_ms=now_ms,
        expires_at_ms=0 if lifetime_s is None else now_ms + lifetime_s * 1000,
    )
    return added(tokens, made), made


def absent(name: str) -> NotFound:
    """The error for a name that no token has."""
    return NotFound(f"There is no token {name[:80]!r}.", hint="See: p2pool agent token ls")
