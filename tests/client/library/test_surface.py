"""What platforms import: names that stay, types, and nothing of an agent."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import p2pool
import p2pool.client
from p2pool.api.app import ROUTES
from p2pool.api.document.document import make_document
from p2pool.client.library import answers
from p2pool.client.library.async_client import AsyncClient
from p2pool.client.library.client import Client
from tests.wire.samples import POOL

ROOT = Path(p2pool.__file__).resolve().parent
HEAVY = (
    *("libp2p", "web3", "docker", "litestar", "eth_account", "eth_utils", "httpx2", "apsw", "rich"),
    *("p2pool.agent", "p2pool.api", "p2pool.cli", "p2pool.core", "p2pool.drivers", "p2pool.dev"),
)
USED = """
import json, sys
import p2pool.client
first = [m for m in ("attrs", "h11", "json", "ssl", "trio", "coincurve") if m in sys.modules]
from p2pool.client import *
from p2pool.client import AsyncClient, Client, KeySigner, Unavailable
signer = KeySigner("11" * 32)
error = None
try:
    Client("http://127.0.0.1:9", token="x" * 40, signer=signer, patience_s=0).submit(
        {"name": "a", "image": "b"})
except Unavailable as failed:
    error = type(failed).__name__

async def main():
    try:
        await AsyncClient("http://127.0.0.1:9", token="x" * 40, patience_s=0).pool()
    except Unavailable:
        return "Unavailable"

import trio
print(json.dumps([first, error, trio.run(main), sorted(sys.modules)]))
"""


def test_it_imports_nothing_of_an_agent() -> None:
    """In an interpreter of its own: the package costs nothing, and all of its names no library that
    only agents need."""
    done = subprocess.run(
        [sys.executable, "-c", USED], capture_output=True, text=True, check=True, timeout=60
    )
    first, blocking, on_trio, modules = json.loads(done.stdout)
    assert [one for one in first if one not in ("json",)] == []
    assert (blocking, on_trio) == ("NoAgent", "Unavailable")
    assert [one for one in HEAVY if one in modules] == []


def test_every_name_is_there_typed_and_told() -> None:
    """Type checkers see the names that are imported when they are used; each says what it is."""
    tree = ast.parse(Path(p2pool.client.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == p2pool.client._MODULES
    assert sorted(seen) == sorted(p2pool.client.__all__)
    for name in seen:
        found = getattr(p2pool.client, name)
        assert name == "TypedData" or (inspect.getdoc(found) or "").strip(), name
    with pytest.raises(AttributeError):
        p2pool.client.Nothing  # noqa: B018
    assert set(p2pool.client.__all__) <= set(dir(p2pool.client))
    assert (ROOT / "py.typed").exists()


def test_both_clients_have_the_same_methods() -> None:
    """With the same parameters, and each says what it does."""

    def surface(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert surface(Client) == surface(AsyncClient)
    for cls in (Client, AsyncClient):
        for name in surface(cls):
            assert inspect.getdoc(getattr(cls, name)), name


SCHEMAS = {
    answers.Allocation: "Allocation",
    answers.NodeRefusal: "Refusal",
    answers.Task: "Task",
    answers.Node: "Node",
    answers.Pool: "Pool",
    answers.Accepted: "Accepted",
    answers.Metric: "Metric",
    answers.CopyMetrics: "CopyMetrics",
    answers.Grant: "Grant",
    answers.Quota: "Quota",
    answers.QuotaUse: "QuotaUse",
}
KINDS = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}


@pytest.mark.parametrize("record", SCHEMAS, ids=lambda one: one.__name__)
def test_records_are_what_the_document_says(record: type) -> None:
    """Each field is in the schema, by its name and kind; what may be null there may be so here."""
    schemas = make_document(ROUTES, POOL, "0")["components"]["schemas"]
    schema = schemas[SCHEMAS[record]]["properties"]
    for one in attrs.fields(record):
        said = str(one.type).replace("<class '", "").replace("'>", "")
        known = schema[one.name]
        kinds = {kind.get("type") for kind in known.get("oneOf", [known])}
        assert ("None" in said) == ("null" in kinds), one.name
        plain = said.removesuffix(" | None")
        if plain in KINDS:
            assert KINDS[plain] in kinds, one.name
