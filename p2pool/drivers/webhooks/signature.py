"""Signs webhooks as the Standard Webhooks specification says, with secrets from a file.

Intuition: whoever knows the secret knows that a message is ours, that it is whole, and when it was
sent. The file holds a secret a line. While a secret is exchanged it holds two, the new and the old
one, and each message carries a signature by each: a receiver takes either.

Invariants: a secret is never in the configuration, and never printed; a file that others can read
is refused, as is a secret that could be guessed.
Source: Standard Webhooks 1.0.0, "Signature scheme".
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from p2pool.drivers.redaction import register_secret
from p2pool.model import limits
from p2pool.model.errors import BadKey

PREFIX = "whsec_"
_MAKE = '(umask 077; echo "whsec_$(openssl rand -base64 32)" > {path})'


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """The secrets in a file, the first line's first. `BadKey`: it cannot be read, others can read
    it, or a line is no secret."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(limits.WEBHOOK_SECRET_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise BadKey(
            f"The webhook secret {path} cannot be read: {error.strerror}.",
            hint=f"Make one: {_MAKE.format(path=path)}",
        ) from error
    if mode & 0o077:
        raise BadKey(f"Others can read the webhook secret {path}.", hint=f"Run: chmod 600 {path}")
    lines = data.decode("ascii", "replace").split()
    if not lines or len(lines) > limits.WEBHOOK_SECRETS_MAX:
        raise _no_secret(path, f"it has {len(lines)} lines, not 1 to {limits.WEBHOOK_SECRETS_MAX}")
    return tuple(_secret(path, line) for line in lines)


def _secret(path: Path, line: str) -> bytes:
    if not line.startswith(PREFIX):
        raise _no_secret(path, f"a line does not begin with {PREFIX}")
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise _no_secret(path, f"what stands behind {PREFIX} is not base64") from error
    least, most = limits.WEBHOOK_SECRET_MIN_BYTES, limits.WEBHOOK_SECRET_MAX_BYTES
    if not least <= len(secret) <= most:
        raise _no_secret(path, f"a secret has {len(secret)} bytes, not {least} to {most}")
    register_secret(line)
    register_secret(line.removeprefix(PREFIX))
    register_secret(secret)
    return secret


def _no_secret(path: Path, why: str) -> BadKey:
    return BadKey(
        f"The file {path} holds no webhook secret: {why}.",
        hint=f"Make one: {_MAKE.format(path=path)}",
    )


def signature(secrets: Sequence[bytes], message_id: str, at_s: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature by each secret."""
    signed = f"{message_id}.{at_s}.".encode() + body
    made = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in made)


def headers(
    secrets: Sequence[bytes], message_id: str, at_s: int, body: bytes
) -> tuple[tuple[str, str], ...]:
    """The three headers of a signed message."""
    return (
        ("webhook-id", message_id),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", signature(secrets, message_id, at_s, body)),
    )
