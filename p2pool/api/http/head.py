"""Judges the head of a request, so that nobody could read it in two ways.

Intuition: h11 is the only parser, and reads what HTTP once allowed: lines that end in LF alone,
folded lines, control characters, the same length twice. Another program on the way may read those
otherwise, and then the two disagree where a request ends. So such a head is refused before h11 has
it, by its bytes, and the rest of the rules by what h11 made of it.

Invariants: what is refused is said why, with the status that HTTP has for it. A name of a host is
read whole or not at all: what follows a bracket or a port is part of it, and makes it none.

Source: RFC 9112 sections 2.2, 3.2, 5 and 6.3; RFC 3986 section 3.2.2.
"""

import ipaddress
import re
from urllib.parse import unquote_to_bytes

import attrs
import h11

from p2pool.model import limits

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
# A line that ends otherwise, goes on in the next one, or holds what no text has.
_ODD = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_VERSION = re.compile(rb" HTTP/([0-9])\.([0-9])\Z")
_LENGTHS = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([/?].*)?\Z", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")

_PLAIN = "Write each line of the head by itself, ended by CRLF."


@attrs.frozen
class Fault:
    """Why a request is none: an HTTP status, and what to say."""

    status: int
    detail: str
    hint: str = ""


@attrs.frozen
class Target:
    """What a request is for: the path in text and as it came, and the query."""

    path: str
    raw_path: bytes
    query: bytes


def fault_in(data: bytes, judged: int = 0) -> Fault | None:
    """What is wrong with a head of which so much has come; more may come after it. `judged`: so
    many bytes were found good before."""
    end = data.find(_HEAD_END, max(0, judged - len(_HEAD_END)))
    head = data if end < 0 else data[: end + len(_HEAD_END)]
    if found := _ODD.search(head, max(0, judged - 1)):
        return _odd(found[0])
    line, ended, _ = head.partition(_LINE_END)
    if len(line) > limits.API_TARGET_MAX_BYTES:
        most = limits.API_TARGET_MAX_BYTES
        return Fault(414, f"The request line is longer than {most} bytes.")
    if len(head) > limits.API_HEAD_MAX_BYTES:
        return Fault(431, f"The head is longer than {limits.API_HEAD_MAX_BYTES} bytes.")
    if head.count(_LINE_END) > limits.API_HEADERS_MAX + 2:
        return Fault(431, f"There are more than {limits.API_HEADERS_MAX} headers.")
    if not ended:
        return None
    if (version := _VERSION.search(line)) is None:
        return Fault(
            400, "The request line is none.", "It is METHOD SP PATH SP HTTP/1.1, and nothing else."
        )
    if version[1] != b"1":
        return Fault(505, "This agent speaks HTTP/1.1.", "Ask with HTTP/1.1.")
    lengths = _LENGTHS.findall(head) if end >= 0 else []
    if len(lengths) > 1 or any(b"," in one for one in lengths):
        return Fault(400, "The request has two lengths.", "Send Content-Length once.")
    return None


def _odd(found: bytes) -> Fault:
    if found in (b"\n", b"\r"):
        return Fault(400, "A line of the head does not end in CRLF.", _PLAIN)
    if found.startswith(b"\n"):
        return Fault(400, "A header goes on in the next line.", _PLAIN)
    return Fault(400, "The head holds a control character.", "Leave it out, or escape it.")


def fault_of(request: h11.Request) -> Fault | None:
    """What is wrong with a head that h11 has read."""
    names = [name for name, _ in request.headers]
    coded = b"transfer-encoding" in names
    if coded and b"content-length" in names:
        return Fault(
            400,
            "The request has a Content-Length and a Transfer-Encoding.",
            "Send one of the two: they say where the body ends.",
        )
    if coded and request.http_version == b"1.0":
        return Fault(400, "HTTP/1.0 has no Transfer-Encoding.", "Send a Content-Length.")
    if b"host" not in names:
        return Fault(400, "The request has no Host header.", "Say which agent is meant.")
    expected = [value.lower() for name, value in request.headers if name == b"expect"]
    if any(one != b"100-continue" for one in expected):
        return Fault(417, "This agent expects nothing but 100-continue.", "Leave Expect out.")
    return None


def fault_from(error: h11.RemoteProtocolError) -> Fault:
    """What h11 found."""
    return Fault(error.error_status_hint, f"The request is no HTTP: {str(error)[:200]}.")


def target_of(request: h11.Request) -> Target | Fault:
    """What a request is for. A target may name the host once more (RFC 9112, 3.2.2)."""
    whole = bytes(request.target)
    if found := _ABSOLUTE.fullmatch(whole):
        said = next((value for name, value in request.headers if name == b"host"), b"")
        if found[1].lower() != said.lower():
            return Fault(
                400,
                "The target names another host than the Host header.",
                "Write the path alone: this is no proxy.",
            )
        rest = found[2] or b"/"
        whole = rest if rest.startswith(b"/") else b"/" + rest
    path, _, query = whole.partition(b"?")
    if not path.startswith(b"/") and (whole, request.method) != (b"*", b"OPTIONS"):
        return Fault(400, "The target is no path.", "It begins with a slash.")
    if b"#" in whole:
        return Fault(400, "The target has a fragment.", "Leave out # and what follows.")
    try:
        if _BAD_ESCAPE.search(path):
            raise ValueError
        return Target(unquote_to_bytes(path).decode("utf-8"), path, query)
    except ValueError:  # A UnicodeDecodeError is one.
        return Fault(400, "The path is not UTF-8, percent-encoded.", "Encode it again.")


# --- hosts --------------------------------------------------------------------------------------


def split_host(text: str) -> tuple[str, int | None] | None:
    """The host, in lower case and without brackets, and the port of HOST or HOST:PORT; None if it
    is neither. Numbers are in their one spelling."""
    text = text.lower()
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        host = _number(inside, 6) if closed else None
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
        if _NAME.fullmatch(host) is None:
            return None
    if not host or not rest:
        return (host, None) if host else None
    digits = rest.removeprefix(":")
    if not rest.startswith(":") or _PORT.fullmatch(digits) is None:
        return None
    return (host, int(digits)) if int(digits) <= limits.PORT_MAX else None


def one_spelling(host: str) -> str:
    """A host, from a setting, as `split_host` gives it."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


def _number(text: str, version: int) -> str | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(found) if found.version == version and "%" not in text else None
