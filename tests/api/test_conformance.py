"""The API does what its document says: schemathesis sends what the document allows, and what it
forbids, to every route, and checks each answer against it.

Seeded and bounded: the same requests each time, some seconds. A change whose document promises
too much, or forbids what is taken, fails here.
"""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from p2pool.api.app import ROUTES
from p2pool.api.server import ApiSettings, serve_api
from p2pool.model.ports.view import Event, EventId
from tests.api.fakes import FakePort

TOKEN = "t" * 40
ACCEPTANCE = "positive_data_acceptance"
REFUSED = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""What forbidden input may get: a body may be too long before anybody looks into it."""
EXAMPLES = {GenerationMode.POSITIVE: 8, GenerationMode.NEGATIVE: 12}


class _Ending(FakePort):
    """An agent whose events end, so that a reader of all of them comes back."""

    async def _events(self, after: EventId | None) -> AsyncIterator[Event]:
        for event in (Event(1, 2, 3, 4, "task", "x", "it runs"),):
            yield event


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served API in a thread."""
    directory: Path = tmp_path_factory.mktemp("agent")
    found: list[str] = []
    ready, over = threading.Event(), trio.Event()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            port = _Ending()
            port.volumes.kept = {"pool/a": [b"x"]}
            found.append(
                await nursery.start(
                    lambda task_status: serve_api(
                        port, ApiSettings("127.0.0.1:0"), directory, TOKEN, task_status=task_status
                    )
                )
            )
            token.append(trio.lowlevel.current_trio_token())
            ready.set()
            await over.wait()
            nursery.cancel_scope.cancel()

    token: list[trio.lowlevel.TrioToken] = []
    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    token[0].run_sync_soon(over.set)
    thread.join(20)


@pytest.mark.parametrize("mode", EXAMPLES, ids=lambda mode: mode.value)
def test_every_route_does_what_the_document_says(url: str, mode: GenerationMode) -> None:
    """No answer is undocumented, of another shape, or 500; what fits is taken, what does not is
    refused."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    config = schemathesis.Config.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}}
    )
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", config=config, headers=headers)
    load_all_checks()
    called = {
        label for found in schema.get_all_operations() if (label := _ask(found.ok(), mode, headers))
    }
    assert len(called) == len(ROUTES) if mode is GenerationMode.POSITIVE else len(called) > 15


def _ask(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> str:
    """Send what fits, or does not, to one route; its name, if there was something to send."""
    # A body means more than a schema says: its times have an order, its signature a signer.
    means_more = operation.method == "post" and mode is GenerationMode.POSITIVE
    checks = [c for c in CHECKS.get_all() if not (means_more and c.__name__ == ACCEPTANCE)]

    @seed(1)
    @settings(
        max_examples=EXAMPLES[mode],
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        case.call_and_validate(checks=checks, headers=headers)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # Nothing can be wrong with a call without input.
        return ""
    return str(operation.label)
