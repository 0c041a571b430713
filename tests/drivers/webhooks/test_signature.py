"""Messages are signed as the specification says, with secrets that nobody else can read."""

import base64
import time
from pathlib import Path

import pytest

from p2pool.drivers.webhooks.signature import headers, read_secrets, signature
from p2pool.model.errors import BadKey
from tests.drivers.webhooks.stand_in import SECRET, published_verification, secret_in


def test_the_signature_is_the_published_one(tmp_path: Path) -> None:
    """The vector that the libraries of Standard Webhooks are tested with."""
    (secret,) = read_secrets(secret_in(tmp_path))
    body = b'{"test": 2432232314}'
    made = signature((secret,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_snippet_of_the_documents_verifies(tmp_path: Path) -> None:
    """It takes what is ours, by either secret while they are exchanged, and nothing altered,
    late or by another's secret."""
    verified = published_verification()
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    secrets = read_secrets(secret_in(tmp_path, f"{new}\n{SECRET}"))
    now = int(time.time())
    sent = dict(headers(secrets, "evt_1", now, b"body"))
    assert verified(new, sent, b"body")
    assert verified(SECRET, sent, b"body")
    assert not verified(SECRET, sent, b"other")
    assert not verified(SECRET, {**sent, "webhook-id": "evt_2"}, b"body")
    assert not verified(SECRET, {**sent, "webhook-timestamp": str(now + 1)}, b"body")
    assert not verified("whsec_" + base64.b64encode(b"x" * 32).decode(), sent, b"body")
    late = dict(headers(secrets, "evt_1", now - 400, b"body"))
    assert not verified(SECRET, late, b"body")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 lines"),
        ("\n".join([SECRET] * 5), "5 lines"),
        ("password", "does not begin with whsec_"),
        ("whsec_!!", "not base64"),
        ("whsec_" + base64.b64encode(b"short").decode(), "has 5 bytes, not 24 to 64"),
        ("whsec_" + base64.b64encode(b"l" * 65).decode(), "has 65 bytes"),
        ("x" * 5000, "does not begin with whsec_"),
    ],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """With what to do, and without what stands in the file."""
    with pytest.raises(BadKey, match=why) as caught:
        read_secrets(secret_in(tmp_path, text))
    assert "openssl rand" in caught.value.hint
    assert "password" not in caught.value.message


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    """Whoever is in the group could forge; and a file that is not there is told with its name."""
    path = secret_in(tmp_path)
    path.chmod(0o640)
    with pytest.raises(BadKey, match="Others can read") as caught:
        read_secrets(path)
    assert f"chmod 600 {path}" in caught.value.hint
    with pytest.raises(BadKey, match="cannot be read: No such file"):
        read_secrets(tmp_path / "nothing")
