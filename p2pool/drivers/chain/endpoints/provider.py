"""web3's HTTP provider with a bound on what is read of an answer.

Intuition: an endpoint may send any number of bytes, packed any number of times. So an answer is
read here, piece by piece, and unpacked here, up to a maximum.

Invariants: no answer takes more than `CHAIN_ANSWER_MAX_BYTES`, or has more than
`CHAIN_ANSWER_ITEMS_MAX` items; whatever is beyond is `Nonsense`.
"""

import ipaddress
import zlib
from typing import Any
from urllib.parse import urlsplit

from requests import Response
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.chain import answers
from p2pool.model import limits

PIECE_BYTES = 64 * 1024


class BoundedProvider(HTTPProvider):
    """web3's provider, except that an answer has a maximum: in bytes, packed or not, and in items,
    because a list of nothings takes twenty times its text."""

    def _make_request(self, method: RPCEndpoint, request_data: bytes) -> bytes:
        sessions, kwargs = self._request_session_manager, self.get_request_kwargs()
        assert self.endpoint_uri is not None
        with sessions.get_response_from_post_request(
            self.endpoint_uri, data=request_data, stream=True, **kwargs
        ) as response:
            response.raise_for_status()
            return answer_body(response)


def answer_body(response: Response) -> bytes:
    """The bytes of an answer; `Nonsense` beyond the bounds."""
    most, body = limits.CHAIN_ANSWER_MAX_BYTES, bytearray()
    # Unpacked here, not by the library: it has no maximum, and unpacks what is packed five times.
    for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
        body += piece
        if len(body) > most:
            raise answers.Nonsense(f"more than {most} bytes")
    packed = response.headers.get("Content-Encoding", "").strip().lower()
    if packed == "gzip":
        body = bytearray(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, most + 1))
    elif packed not in ("", "identity"):
        raise answers.Nonsense(f"an encoding that was not asked for, {answers.shown(packed)!r}")
    if len(body) > most:
        raise answers.Nonsense(f"more than {most} bytes, packed")
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.CHAIN_ANSWER_ITEMS_MAX:
        raise answers.Nonsense(f"more than {limits.CHAIN_ANSWER_ITEMS_MAX} items")
    # A library of web3's lets Python recurse until the stack is used up: that ends the process.
    if too_deep(body.decode("latin-1")):
        raise answers.Nonsense("a list or object that is nested too deeply")
    return bytes(body)


def provider_of(url: str, timeout_s: float) -> HTTPProvider:
    """A provider without retries: they blocked for seconds, and covered raw transactions."""
    options = {"timeout": timeout_s, "headers": _headers(), **direct(url)}
    return BoundedProvider(url, request_kwargs=options, exception_retry_configuration=None)


def direct(url: str) -> dict[str, Any]:
    """Options that keep a request to this machine away from the environment's proxy, which is for
    the outside world and has another 127.0.0.1."""
    host = urlsplit(url).hostname or ""
    try:
        own = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = False
    # The host itself: for any other word `requests` sets a variable of the environment and takes it
    # back, while the calls in other threads do the same.
    return {"proxies": {"no_proxy": host}} if own else {}


def _headers() -> dict[str, str]:
    """web3's own, and the one way to pack an answer that `answer_body` unpacks."""
    return {**HTTPProvider.get_request_headers(), "Accept-Encoding": "gzip"}
