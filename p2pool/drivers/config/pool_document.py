"""What a pool's owner publishes so that others can join: a file on any web server.

    [chain]            id, endpoints, confirmations
    [chain.addresses]  the deployment's contracts
    [pool]             id
    [network]          bootstrap

The same names as in an agent's configuration, so it can be cut out of one. Nothing about a machine
can stand in it: whoever reads it takes a stranger's word for which pool this is, and for no more.

Invariants: over TLS, except on this machine; nothing is followed elsewhere; bounded in bytes and
time.
"""

import http.client
import ipaddress
import ssl
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from p2pool.drivers.input_files import input_path, read_input
from p2pool.drivers.redaction import register_url, safe_text, shown_url
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, Unavailable

TABLES = {"chain": None, "pool": {"id"}, "network": {"bootstrap"}}
"""What may stand in it: a table, and of it all keys or these."""
_CONTRACTS = ("network", "pool", "registry", "stake", "domains", "token")
_HINT = "It holds [chain], [chain.addresses], [pool] id and [network] bootstrap, and nothing else."


def is_document(text: str) -> bool:
    """Whether what names a pool is a place to read, and no number."""
    return not (text.isascii() and text.isdigit())


def read_pool_document(place: str) -> dict[str, Any]:
    """The tables at a URL or in a file. Raises `Unavailable`, `Misconfigured`, `Malformed`."""
    if "://" in place:
        register_url(place)
        shown, data = shown_url(place), _fetched(place)
    else:
        path = input_path(place)
        shown, data = str(path), _read(path)
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # A number may have too many digits for Python.
        raise Malformed(
            f"What {shown} holds is no TOML: {safe_text(str(error))}.", hint=_HINT
        ) from error
    for name, table in tables.items():
        allowed = TABLES.get(name, set())
        extra = set(table) - allowed if isinstance(table, dict) and allowed is not None else set()
        if name not in TABLES or not isinstance(table, dict) or extra:
            wrong = f"{name}.{min(extra)}" if name in TABLES and extra else name
            raise Malformed(
                f"What {shown} holds sets {wrong}, which is not for a pool to say.", hint=_HINT
            )
    if missing := [name for name in ("chain", "pool") if name not in tables]:
        raise Malformed(f"What {shown} holds lacks [{missing[0]}].", hint=_HINT)
    _check(tables, shown)
    return tables


def _check(tables: dict[str, Any], shown: str) -> None:
    """`Malformed` unless a configuration could have all of it. What a document may leave out of
    [chain] is filled in, so that the rest is judged."""
    from p2pool.drivers.config.reader import read_section_tables
    from p2pool.drivers.config.schema import PREFIX, AgentConfig

    chain, addresses = tables["chain"], tables["chain"].get("addresses", {})
    if isinstance(addresses, dict):
        addresses = {**dict.fromkeys(_CONTRACTS, f"0x{'00' * 20}"), **addresses}
    chain = {"id": 1, "endpoints": ["https://endpoint.invalid"], **chain, "addresses": addresses}
    found, problems = read_section_tables(AgentConfig, {**tables, "chain": chain}, {}, PREFIX)
    if found is None:
        raise Malformed(
            f"What {shown} holds has {len(problems)} problem(s):\n  "
            + "\n  ".join(problems)
            + "\n",
            hint=_HINT,
        )


def _read(path: Path) -> bytes:
    try:
        data = read_input(path, limits.CONFIG_MAX_BYTES, "pool's file")
    except OSError as error:
        raise Misconfigured(
            f"The pool's file {path} cannot be read: {error.strerror}.",
            hint="--pool takes a pool's number, or the URL or file of its pool.toml.",
        ) from error
    if len(data) > limits.CONFIG_MAX_BYTES:
        raise Malformed(f"{path} is longer than {limits.CONFIG_MAX_BYTES} bytes.")
    return data


def _fetched(url: str) -> bytes:
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or not url.isprintable() or " " in url:
        raise Misconfigured("The pool's URL is none.", hint="Write https://HOST/pool.toml.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise Misconfigured(
            f"{shown} is not https: anybody on the way could name another pool.",
            hint="Use https, or fetch the file and name it: --pool pool.toml.",
        )
    timeout_s = limits.POOL_DOCUMENT_TIMEOUT_MS / 1000
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/toml, text/plain"})
        answer = connection.getresponse()
        data = answer.read(limits.CONFIG_MAX_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unavailable(
            f"{shown} does not answer: {safe_text(why)}.",
            hint="Try again, or fetch the file and name it: --pool pool.toml.",
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unavailable(
            f"{shown} answers with HTTP status {answer.status}.",
            hint="Ask the pool's owner for the right URL; nothing is followed elsewhere.",
        )
    if len(data) > limits.CONFIG_MAX_BYTES:
        raise Malformed(f"What {shown} holds is longer than {limits.CONFIG_MAX_BYTES} bytes.")
    return data


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
