"""What must never be printed: fields by their name, and values that were registered as secret.

Code that reads a key, token or passphrase registers it here; from then on no log line shows it,
wherever in the line it stands. Imports nothing heavy: the CLI reads keys too.

URLs of endpoints hold keys in every part that a provider may choose: before the host, in its name,
in the path, the query. So a URL is told as scheme, host and port, without labels of the host that
look like keys, and no library's own text about one is passed on (`safe_text`).

Invariant: redaction only ever removes. Values shorter than `SHORTEST` are not searched for, since
that would black out half of every line; the names of fields cover them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from p2pool.model import limits
from p2pool.model.access.tokens import PREFIX
from p2pool.model.bounded_tables import BoundedDict

SECRET_NAMES = (
    "token",
    "passphrase",
    "password",
    "private_key",
    "privatekey",
    "secret",
    "authorization",
    "seed",
    "api_key",
    "cookie",
    "mnemonic",
)
# Names that contain one of the words above but hold no secret: a fencing token is public.
PUBLIC_NAMES = frozenset({"token_epoch", "token_term", "token_index", "fencing_token"})
REDACTED = "[redacted]"
SHORTEST = 6
LABEL_OF_KEY = 16
"""A label of a host of so many letters, some of them digits, may be a key."""
WORD_MAX = 20
"""A label that is longer, without a hyphen, may be one even without digits."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s'\"<>]+")
_NO_NAME = re.compile(r"[^\w.%-]")
"""What ends the name of a host: behind it may stand anything."""
_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{40,}")
"""A token of some agent's API: of those that were made before this start only digests are known."""
_AT_END = ".,;:!?)]}"

_registered: BoundedDict[str, None] = BoundedDict(limits.SECRETS_REGISTERED_MAX)


def register_secret(value: str | bytes) -> None:
    """Never print this value from now on. Hides bytes as hex, with and without 0x, and raw."""
    forms: list[str]
    if isinstance(value, bytes):
        forms = [value.hex(), value.hex().upper(), value.decode("latin-1"), repr(value)[2:-1]]
    else:
        forms = [value, repr(value)[1:-1]]
    for form in forms:
        if len(form) >= SHORTEST:
            _registered.renew(form, None)


def register_url(url: str) -> None:
    """Never print the parts of an endpoint's URL that may hold a key."""
    parts = _split(url)
    if parts is None:
        register_secret(url)
        return
    for secret in _secrets_of(url, parts):
        for form in {secret, unquote(secret)}:
            register_secret(form)


def _secrets_of(url: str, parts: SplitResult) -> Iterator[str]:
    user, separated, _ = parts.netloc.rpartition("@")
    if separated:
        yield from (url, user, *user.split(":", 1))
    behind = url.partition("://")[2].partition(parts.netloc)[2]
    if behind.strip("/"):
        yield from (url, behind, behind.lstrip("/?"), parts.query)
        # Whoever quotes a request quotes its path alone, or a part of it.
        yield from (part for part in parts.path.split("/") if _may_be_key(part))
        yield from (value for _, value in parse_qsl(parts.query))
    for label in parts.netloc.rpartition("@")[2].partition(":")[0].split(".")[:-2]:
        if _may_be_key(label):
            yield from (label, label.lower())


def shown_url(url: str) -> str:
    """A URL as it may be told: scheme, host and port, without what in the host may be a key."""
    parts = _split(url)
    if parts is None:
        return REDACTED
    host, port = _host_and_port(parts)
    return f"{parts.scheme}://{host}{port}" if parts.scheme else f"{host}{port}"


def _host_and_port(parts: SplitResult) -> tuple[str, str]:
    whole = parts.netloc.rpartition("@")[2]
    host, bracket, rest = whole.partition("]")
    if not bracket:
        host, colon, rest = whole.partition(":")
        rest = colon + rest
    if rest and not re.fullmatch(":[0-9]*", rest):  # What is no port may be anything.
        rest = f":{REDACTED}"
    if bracket:
        return host + bracket, rest
    labels = _NO_NAME.split(host)[0].split(".")
    if len(labels) == 1 and "-" not in host and _may_be_key(host):
        return REDACTED, rest
    # The last two are whose it is.
    shown = [REDACTED if _may_be_key(label) else label for label in labels[:-2]]
    return ".".join([*shown, *labels[-2:]]), rest


def safe_text(text: str) -> str:
    """The beginning of somebody else's text, without registered secrets, and with each URL as it
    may be told."""
    text = text[: limits.FOREIGN_TEXT_MAX]
    return redact_text(_URL.sub(_shown_match, text))


def _shown_match(found: re.Match[str]) -> str:
    url = found[0].rstrip(_AT_END)
    shown = shown_url(url)
    whole = shown == url.rstrip("/")
    return shown + ("" if whole else "/...") + found[0][len(url) :]


def _may_be_key(word: str) -> bool:
    plain = word.replace("-", "").replace("_", "")
    mixed = len(plain) >= LABEL_OF_KEY and any(c.isdigit() for c in plain)
    return mixed or (len(word) > WORD_MAX and plain == word)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.netloc else None


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is never printed."""
    plain = name.lower().replace("-", "_")
    return plain not in PUBLIC_NAMES and any(word in plain for word in SECRET_NAMES)


def redact_text(text: str) -> str:
    """The text without any registered secret, and without what has the form of a token."""
    for secret in _registered:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return _TOKEN.sub(REDACTED, text) if PREFIX in text else text


def redact(value: Any, depth: int = 0) -> Any:
    """The value without secrets, through mappings and sequences; other values become text."""
    if value is None or isinstance(value, bool | int | float):
        # A secret may be all digits: then the number is secret too.
        return value if redact_text(str(value)) == str(value) else REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray):
        return redact_text(bytes(value).hex())
    if depth >= limits.REDACTION_DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            redact_text(str(key)): REDACTED if is_secret_name(str(key)) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(repr(value))
