"""What went wrong with an endpoint: in our words, and of which kind.

Intuition: an endpoint that cannot be reached, one that wants a pause, and one that answers this
call with an error are three things. The first is passed over, the second left alone for as long as
it says, and the third may answer a smaller question.

Invariants: no library's own text is told, for it quotes the URL, which holds the key; an endpoint's
pause is never longer than `CHAIN_PAUSE_MAX_MS`, whatever it asks for.
Source: RFC 9110, "Retry-After"; EIP-1474, "Error codes"; the texts that providers document.
"""

import email.utils
import errno
import os
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import requests
from urllib3.exceptions import NameResolutionError

from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable

FAILURES: tuple[tuple[type[BaseException], str], ...] = (
    (requests.exceptions.SSLError, "its TLS certificate, or its TLS, is not accepted"),
    (requests.exceptions.ProxyError, "the proxy does not get through to it"),
    (requests.exceptions.Timeout, "no answer in time"),
)
CAUSES_MAX = 16
"""So many links of a chain of errors are looked at."""
TOO_MANY_REQUESTS, UNAVAILABLE = 429, 503
LIMIT_CODES = (-32005, 429, -32029)
"""Codes of JSON-RPC errors that providers give for too many calls; the first also for too much."""
_TOO_MANY = re.compile(
    r"rate.?limit|too many requests|request (?:limit|rate)|requests per|throughput|compute units"
    r"|capacity|quota|daily request|limit exceeded|back.?off",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(r"range|block|result|logs?\b|size", re.IGNORECASE)
"""Of the same code, but about one call: the question has to be smaller."""


class EndpointRefused(ChainUnavailable):
    """An endpoint is there, and answers this call with an error of its own: it does not know the
    block, no longer has its state, or does not take the question."""


class EndpointPaused(ChainUnavailable):
    """An endpoint wants to be left alone; `pause_s`: for so long, None where it does not say."""

    def __init__(self, message: str, pause_s: float | None) -> None:
        """Keep the time."""
        super().__init__(message)
        self.pause_s = pause_s


def wants_pause(code: object, message: str) -> bool:
    """Whether a JSON-RPC error means too many calls, and not too much in one."""
    if _TOO_MUCH.search(message):
        return False
    return code in LIMIT_CODES or _TOO_MANY.search(message) is not None


def http_pause(error: BaseException, now: datetime | None = None) -> tuple[bool, float | None]:
    """Whether an HTTP answer asks for a pause, and for how long, if it says so."""
    if not isinstance(error, requests.HTTPError) or error.response is None:
        return False, None
    said = error.response.headers.get("Retry-After", "").strip()
    status = error.response.status_code
    if status != TOO_MANY_REQUESTS and not (status == UNAVAILABLE and said):
        return False, None
    return True, retry_after_s(said, now or datetime.now(UTC))


def retry_after_s(said: str, now: datetime) -> float | None:
    """The seconds of a Retry-After, which names them or a date; None: it is neither."""
    if re.fullmatch(r"[0-9]{1,9}", said):
        found = float(said)
    else:
        try:
            date = email.utils.parsedate_to_datetime(said)
        except (TypeError, ValueError):
            return None
        found = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return min(max(found, 0.0), limits.CHAIN_PAUSE_MAX_MS / 1000)


def failure_text(error: BaseException) -> str:
    """A library's failure in our own words: its own quote the URL, which holds the key."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    for kind, told in FAILURES:
        if isinstance(error, kind):
            return told
    for cause in _causes(error):
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return "no such host"
        number = cause.errno if isinstance(cause, OSError) else None
        if number is not None and number in errno.errorcode:
            return os.strerror(number)
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from; libraries keep that in their arguments too."""
    left, seen = [error], list[BaseException]()
    while left and len(seen) < CAUSES_MAX:
        one = left.pop(0)
        seen.append(one)
        yield one
        reason = getattr(one, "reason", None)
        near = (one.__cause__, one.__context__, reason, *one.args)
        left += [n for n in near if isinstance(n, BaseException) and n not in seen]
