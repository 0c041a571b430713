"""The OpenAPI document says what the API takes and gives, all of it and in words."""

from typing import Any

import pytest

from p2pool.api.app import ROUTES, create_app
from p2pool.api.document.document import make_document
from p2pool.api.document.words import ENUMS
from p2pool.api.http.tokens import TokenTable
from tests.api.fakes import FakePort
from tests.wire.samples import POOL

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As it is served."""
    return make_document(ROUTES, POOL, "1")


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(p, m, one) for p, item in document["paths"].items() for m, one in item.items()]


def test_everything_is_described(document: dict[str, Any]) -> None:
    """Each route, parameter, answer, schema and field has words of its own."""
    bare: list[tuple[str, ...]] = []
    for path, method, one in _operations(document):
        places = {"": one} | {p["name"]: p for p in one.get("parameters", ())}
        places |= {f"{status}": answer for status, answer in one["responses"].items()}
        bare += [(path, method, name) for name, it in places.items() if not it.get("description")]
    for name, schema in document["components"]["schemas"].items():
        fields = {"": schema} | schema.get("properties", {})
        bare += [(name, field) for field, it in fields.items() if not it.get("description")]
    assert bare == []
    assert len({one["operationId"] for _, _, one in _operations(document)}) == len(
        _operations(document)
    )


def test_every_refusal_is_a_problem_document(document: dict[str, Any]) -> None:
    """The shape that is sent, not the framework's; and more of them than 400."""
    for path, _, one in _operations(document):
        refusals = {k: v for k, v in one["responses"].items() if k != "200"}
        assert {"400", "406", "421", "500"} <= set(refusals), path
        for answer in refusals.values():
            (schema,) = [c["schema"] for kind, c in answer["content"].items() if kind == PROBLEM]
            assert schema == {"$ref": "#/components/schemas/Problem"}
        assert ("401" in refusals) == (one.get("security") != []), path
    assert document["paths"]["/v1/health"]["get"]["security"] == []
    assert document["security"] == [{"token": []}]


def test_every_body_is_described(document: dict[str, Any]) -> None:
    """Routes that read one say so, with its schema; nothing is random."""
    for path, method, one in _operations(document):
        assert ("requestBody" in one) == (method == "post"), path
    assert document == make_document(ROUTES, POOL, "1")
    assert "example" not in str(document)


def test_fields_that_hold_words_list_them(document: dict[str, Any]) -> None:
    """And no table speaks of a field that is gone."""
    schemas = document["components"]["schemas"]
    for place, words in ENUMS.items():
        schema, _, field = place.partition(".")
        assert schemas[schema]["properties"][field]["enum"] == words
    named = {"state", "role", "kind", "membership", "reachability", "intent", "health", "status"}
    loose = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, it in schema.get("properties", {}).items()
        if field in named and it.get("type") == "string" and "enum" not in it
    ]
    assert loose == []


def test_the_document_is_the_one_of_this_agent() -> None:
    """The application makes it when it is read, for its own pool."""
    app = create_app(FakePort(), TokenTable("t" * 40), version="7")
    assert app.openapi_config is None
    assert "/v1/openapi.json" in {route.path for route in app.routes}
