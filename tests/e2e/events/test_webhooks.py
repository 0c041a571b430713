"""A receiver of webhooks gets all that happens in a real pool, though agent and receiver end."""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from p2pool.client.discovery import agent_in
from tests.cli.output.held import held
from tests.drivers.webhooks.stand_in import SECRET, published_verification, secret_in
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.chain]


class Hook:
    """A platform's receiver, as one writes it: it verifies, keeps, and answers."""

    def __init__(self) -> None:
        """It listens, and is up."""
        self.up, self.kept, self.wrong = True, dict[str, Any](), list[str]()
        self.order: list[str] = []
        verified = published_verification()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Take a message, once."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if hook.up and not verified(SECRET, headers, body):
                    hook.wrong.append(headers["webhook-id"])
                if hook.up and headers["webhook-id"] not in hook.kept:
                    hook.kept[headers["webhook-id"]] = json.loads(body)
                    hook.order.append(headers["webhook-id"])
                self.send_response(204 if hook.up else 503)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is said."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def events(self) -> list[str]:
        """The ids of events, in the order in which they came."""
        told = [self.kept[name] for name in self.order]
        return [one["data"]["id"] for one in told if one["type"] not in ("test", "gap")]

    def end(self) -> None:
        """Nobody is there any more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A receiver, until the test ends."""
    made = Hook()
    yield made
    made.end()


@pytest.fixture
def acting(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Acting]:
    """A pool of one agent, which names the receiver."""
    directory = Path(tempfile.mkdtemp(prefix="p2w", dir="/tmp"))
    secret = secret_in(directory)
    url = f"http://127.0.0.1:{hook.server.server_address[1]}/p2pool"
    told = f'name = "platform", url = "{url}", secret_file = "{secret}", allow_private = true'
    monkeypatch.setenv("P2POOL_NOTIFY__WEBHOOKS", f"[{{{told}}}]")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{directory}/none.sock")  # Tasks are processes.
    pool = directory / "pool"
    up = p2pool("dev", "up", "--nodes", "1", "--dir", str(pool), "--json")
    try:
        assert up.returncode == 0, up.stderr
        yield Acting.on(pool)
    finally:
        down = p2pool("dev", "down", "--dir", str(pool))
        shutil.rmtree(directory, ignore_errors=True)
        assert down.returncode == 0, down.stderr


async def test_what_happens_reaches_the_receiver_whoever_ends(acting: Acting, hook: Hook) -> None:
    """The agent is killed, and the receiver away for a while: what it has got then is what the
    agent keeps, in order, each signed, and the status tells how it went."""
    (agent,) = acting.agents
    config = acting.pool.directory / f"{agent.name}.toml"
    where = ("--data-dir", str(agent.directory), "--config", str(config))
    tried = p2pool("agent", "notify", "test", *where, "--json")
    assert tried.returncode == 0, tried.stderr
    (result,) = held(tried.stdout)
    assert (result["name"], result["status"]) == ("platform", 204)
    assert hook.kept[result["message_id"]]["type"] == "test"

    task = acting.submit(agent, "first", ENDLESS)
    await acting.wait_states(agent, task, "running")
    hook.up = False
    acting.run(agent, "task", "stop", task)
    await acting.kill(agent)
    await acting.start(agent)
    again = acting.submit(agent, "second", ENDLESS)
    await acting.wait_states(agent, again, "running")
    hook.up = True
    await acting.stop_task(agent, again)

    async def delivered() -> bool:
        if not (got := hook.events()):
            return False
        done = p2pool("pool", "events", "--json", **acting.environment(agent))
        kept = [held(line)["id"] for line in done.stdout.splitlines()]
        return kept[kept.index(got[0]) :] == hook.events()

    await acting.pool.wait("all events at the receiver", delivered)
    assert hook.wrong == []
    states = [
        one["data"]["details"]["state"]
        for one in (hook.kept[name] for name in hook.order)
        if one["type"] == "task" and one["data"]["subject"] == again
    ]
    assert states[0] == "pending"
    assert states[-1] == "stopped"
    status = p2pool("agent", "status", **acting.environment(agent)).stdout
    assert "platform at http://127.0.0.1:" in status
    assert "/p2pool" not in status
    reached = agent_in(agent.directory)

    def scrape() -> str:
        headers = {"Authorization": f"Bearer {reached.token}"}
        return httpx2.get(f"{reached.url}/metrics", headers=headers).text

    assert 'p2pool_webhooks_total{event="delivered"}' in await trio.to_thread.run_sync(scrape)
