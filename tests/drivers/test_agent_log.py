"""No key, token, passphrase or secret reaches a log line, whichever way it is logged."""

import io
import json
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pool.drivers import redaction
from p2pool.drivers.agent_log import configure_logs, get_logger
from p2pool.drivers.keys import keystore
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Misconfigured

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Secrets of a test are its own, and so are its handlers."""
    monkeypatch.setattr(redaction, "_registered", BoundedDict(limits.SECRETS_REGISTERED_MAX))
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before


def logged(format: str = "json", level: str = "debug", **levels: str) -> io.StringIO:
    """Send log lines to a string."""
    out = io.StringIO()
    configure_logs(level=level, format=format, stream=out, levels=levels)
    return out


@pytest.mark.parametrize("format", ["json", "pretty"])
@pytest.mark.parametrize(
    "name", ["token", "passphrase", "private_key", "secret", "Authorization", "seed", "api_token"]
)
def test_a_field_with_a_secret_name_is_hidden(name: str, format: str) -> None:
    """Also deep inside, and in any case of letters."""
    out = logged(format)
    get_logger("p2pool.t").info("happened", **{name: SECRET}, more=[{"x": {name: SECRET}}], ok="y")
    assert SECRET not in out.getvalue()
    assert "happened" in out.getvalue()


@pytest.mark.parametrize("format", ["json", "pretty"])
def test_a_registered_value_is_hidden_anywhere(format: str) -> None:
    """In a field of any name, in the event, as bytes, hex, key of a mapping or object's text."""
    out = logged(format)
    raw = bytes(range(7, 39))
    redaction.register_secret(SECRET)
    redaction.register_secret(raw)
    log = get_logger("p2pool.t")
    log.warning(f"said {SECRET}", a=f"x{SECRET}y", b=raw, c="0x" + raw.hex(), d={SECRET: 1})
    log.warning("again", e=[(raw,)], f=Path("/" + SECRET), g=raw.hex().upper(), h=str(raw))
    text = out.getvalue()
    assert SECRET not in text
    assert raw.hex() not in text.lower()
    assert repr(raw)[2:-1] not in text.replace("\\\\", "\\")


@pytest.mark.parametrize("format", ["json", "pretty"])
def test_an_exceptions_text_is_rid_of_secrets(format: str) -> None:
    """A traceback shows values too."""
    out = logged(format)
    redaction.register_secret(SECRET)
    try:
        raise ValueError(f"cannot use {SECRET}")
    except ValueError:
        get_logger("p2pool.t").exception("failed")
        logging.getLogger("somebody.else").exception("failed with %s", SECRET)
    assert SECRET not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_what_keys_reads_is_registered(tmp_path: Path) -> None:
    """A key, a seed, a token and a passphrase that pass through `keys` never show up again."""
    out = logged()
    passphrase = keystore.read_passphrase("k", environ={"P2POOL_PASSPHRASE": "a long passphrase"})
    keystore.import_key_file(tmp_path / "k", secrets.token_bytes(32), passphrase, light=True)
    account = keystore.load_account(tmp_path / "k", passphrase, note=lambda _: None)
    seed = keystore.load_or_make_peer_seed(tmp_path)
    token = keystore.load_or_make_token(tmp_path)
    private = bytes(account.key)
    get_logger("p2pool.t").info("all", v=[passphrase, private, private.hex(), seed, token])
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["v"] == ["[redacted]"] * 5


def test_numbers_and_plain_fields_stay_as_they_are() -> None:
    """Redaction only removes; the types of the rest survive into JSON."""
    out = logged()
    get_logger("p2pool.t").info("event", term=3, ok=True, none=None, names=("a", "b"))
    line = json.loads(out.getvalue())
    assert (line["term"], line["ok"], line["none"], line["names"]) == (3, True, None, ["a", "b"])
    assert (line["level"], line["logger"], line["event"]) == ("info", "p2pool.t", "event")
    assert line["timestamp"].endswith("Z")


def test_levels_are_by_module() -> None:
    """A module's own level wins; libraries are quiet by default."""
    out = logged(level="warning", **{"p2pool.net": "debug"})
    get_logger("p2pool.core").info("not this")
    get_logger("p2pool.net.links").debug("this")
    logging.getLogger("libp2p.x").info("not this")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["this"]
    logging.getLogger("p2pool.net").setLevel(logging.NOTSET)


def test_configuring_again_replaces() -> None:
    """One event is one line, however often logs were set up."""
    first, second = logged(), logged()
    get_logger("p2pool.t").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_wrong_names_are_told() -> None:
    """With the names that there are."""
    with pytest.raises(Misconfigured, match="debug, info, warning, error"):
        configure_logs(level="loud")
    with pytest.raises(Misconfigured, match="auto, pretty, json"):
        configure_logs(format="xml")
