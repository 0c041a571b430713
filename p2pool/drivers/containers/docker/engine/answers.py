"""What an engine answers, as far as it is what its API says.

Intuition: plugins, proxies, and engines that are not Docker's fill in some parts as they like. A
part of another form is as if it were missing: what is needed is asked for by whoever needs it.

Invariant: nothing here raises, but `RuntimeUnavailable` for an answer that is none.
Source: Docker Engine API, version 1.41.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pool.model.errors import RuntimeUnavailable

NUMBER_MAX = 2**63 - 1
NOTHING: Mapping[str, Any] = {}


def fields(answer: object, *needed: str) -> Mapping[str, Any]:
    """An answer that must be an object with these keys. RuntimeUnavailable: it is not, so
    whatever answers is not an engine."""
    if not isinstance(answer, Mapping) or not all(isinstance(answer.get(n), str) for n in needed):
        raise RuntimeUnavailable(
            "The answer is not a Docker Engine's, or a proxy changed it.",
            hint="See what it says: docker version",
        )
    return answer


def record_of(answer: object) -> dict[str, Any]:
    """The record of a container, with an id, a configuration and a state. RuntimeUnavailable: it is
    none."""
    found = fields(answer, "Id")
    state = fields(found.get("State"))
    return {
        **found,
        "Config": dict(part(found, "Config")),
        "State": {**state, "Status": text(state.get("Status"))},
    }


def rows_of(answer: object) -> list[dict[str, Any]]:
    """The rows of a listing, each with an id. RuntimeUnavailable: it is none."""
    if not isinstance(answer, list):
        fields(None)
    return [dict(fields(row, "Id")) for row in items(answer)]


def name_in(row: Mapping[str, Any]) -> str:
    """The name of a row's container, or its id."""
    names = [text(one) for one in items(row.get("Names"))]
    return next((name.lstrip("/") for name in names if name), text(row.get("Id")))


def part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in an answer; an empty one where there is none."""
    found = answer.get(name)
    return found if isinstance(found, Mapping) else NOTHING


def items(value: object) -> Sequence[Any]:
    """The items of a list, of an object its keys; none of anything else."""
    return list(value) if isinstance(value, list | tuple | Mapping) else ()


def objects(value: object) -> Sequence[Mapping[str, Any]]:
    """The objects in a list."""
    return [one for one in items(value) if isinstance(one, Mapping)]


def text(value: object) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""


def number(value: object, default: int = 0) -> int:
    """A whole number of 64 bits."""
    return value if type(value) is int and abs(value) <= NUMBER_MAX else default
