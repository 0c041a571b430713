"""Makes the OpenAPI document: what the framework reads off the routes, put right and completed.

The framework knows parameters and the shapes of answers. It does not know that every refusal is a
problem document, what a body holds, which words a field can hold, nor what anything means. That is
added here from tables, and a test finds a route, field or parameter that no table knows.
"""

import inspect
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from p2pool.api.document.bodies import EVENT, bodies
from p2pool.api.document.routes import ROUTES, TAGS, Route, refusal, refusals_of
from p2pool.api.document.words import ENUMS, FIELDS, OF_ONE
from p2pool.api.http.scopes import needed_scope
from p2pool.api.resources import (
    access,
    agent,
    nodes,
    parameters,
    reasons,
    tasks,
    tokens,
    volumes,
)
from p2pool.api.resources import pool as pool_resource
from p2pool.api.resources.proofs import validations, voters
from p2pool.model.access.tokens import MEANINGS
from p2pool.model.ids import PoolRef
from p2pool.model.machine import hardware

Document = dict[str, Any]

_ABOUT = (
    "What an agent of a pool tells its clients, and the signed requests that it passes on. Times"
    " end in `_ms` and are Unix milliseconds, 0 for never. Lists come in pages: follow `next`."
    " Fields may be added to answers; requests may hold only what is described here."
)


def make_document(
    handlers: tuple[HTTPRouteHandler, ...], pool: PoolRef, version: str, path_prefix: str = ""
) -> Document:
    """The document of these routes, for an agent of a pool. `path_prefix`: below it clients find
    them."""
    meant = " ".join(f"`{scope}`: {meaning}." for scope, meaning in MEANINGS.items())
    config = OpenAPIConfig(
        title="p2pool agent",
        version=version or "0",
        description=_ABOUT,
        security=[{"token": []}],
        components=Components(
            security_schemes={
                "token": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="A token of the agent. Each route names the least scope that opens"
                    f" it. {meant} The line in `api.token`, in the agent's data directory, opens"
                    " everything.",
                )
            }
        ),
        use_handler_docstrings=True,
    )
    app = Litestar(route_handlers=handlers, openapi_config=config, logging_config=None)
    document = app.openapi_schema.to_schema()
    document["servers"] = [{"url": path_prefix or "/", "description": "This agent."}]
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, operation, ROUTES[path, method])
            scope = needed_scope(path, method)
            operation["security"] = [] if scope is None else [{"token": [scope.value]}]
    schemas = document["components"]["schemas"]
    about = _answers()
    for name, schema in schemas.items():
        schema["description"] = about[name]
        _describe(name, schema)
    schemas |= bodies(pool)
    return document


def _answers() -> dict[str, str]:
    """What the class of each answer says of itself, in its first sentences."""
    modules = (
        *(
            access,
            agent,
            hardware,
            nodes,
            parameters,
            pool_resource,
            validations,
            voters,
            reasons,
            tasks,
            tokens,
        ),
        volumes,
    )
    classes = {
        one.__name__: inspect.getdoc(one) or ""
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type)
    }
    return {name: " ".join(text.split("\n\n")[0].split()) for name, text in classes.items()}


def _complete(path: str, operation: Document, route: Route) -> None:
    """A route's name, body, refusals and headers."""
    operation["operationId"], operation["tags"] = route.name, [route.tag]
    answers: Document = operation["responses"]
    good = answers["200"]
    good["description"] = operation["summary"] + "."
    operation["responses"] = {"200": good}
    for status in refusals_of(path, route):
        operation["responses"][str(status)] = refusal(status)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _plain(parameter["schema"])
    if path == "/v1/readiness":
        told = operation["responses"]["503"]
        told["description"] = "It does not take part; the answer says why."
        told["content"] |= good["content"]
    if path == "/metrics":
        good["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if path == "/v1/events":
        good["content"] = {"text/event-stream": {"schema": EVENT}}
        operation["parameters"].append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "Events after this one; it goes before `after`.",
                "schema": dict(operation["parameters"][0]["schema"]),
            }
        )
    if route.body:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        operation["requestBody"] = {
            "required": True,
            "description": "JSON, with no other keys than these.",
            "content": {"application/json": {"schema": schema}},
        }


def _plain(schema: Document) -> Document:
    """A parameter's schema without what only bodies have: nothing in a URL is null."""
    kinds = [one for one in schema.get("oneOf", ()) if one != {"type": "null"}]
    made = {**kinds[0], **schema} if len(kinds) == 1 else dict(schema)
    if kinds:
        del made["oneOf"]
    whole = {name: int(made[name]) for name in ("minimum", "maximum") if name in made}
    return {**made, **whole}


def _describe(name: str, schema: Document) -> None:
    """Words, and the words that a field can hold."""
    for field, known in schema.get("properties", {}).items():
        one = f"{name}.{field}"
        known["description"] = OF_ONE.get(one) or FIELDS[field]
        if one in ENUMS:
            known["enum"] = ENUMS[one]
