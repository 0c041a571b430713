"""What must never be printed: fields by their name, and values that were registered as secret.

Code that reads a key, token or passphrase registers it here; from then on no log line shows it,
wherever in the line it stands. Imports nothing heavy: the CLI reads keys too.

Invariant: redaction only ever removes. Values shorter than `SHORTEST` are not searched for, since
that would black out half of every line; the names of fields cover them.
"""

from collections.abc import Mapping
from typing import Any

from p2pool.model import limits
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


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is never printed."""
    plain = name.lower().replace("-", "_")
    return plain not in PUBLIC_NAMES and any(word in plain for word in SECRET_NAMES)


def redact_text(text: str) -> str:
    """The text without any registered secret."""
    for secret in _registered:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


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
