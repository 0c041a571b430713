"""Who leads, proven to a user who trusts the chain alone, on a real pool of real processes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from p2pool.dev.pool import DevAgent
from p2pool.model.data_dir import API_TOKEN_FILE, API_URL_FILE
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED, UNAVAILABLE = 3, 5


def verify(acting: Acting, directory: Path) -> tuple[int, Any]:
    """`p2pool verify leader` with an agent's data directory, and the pool's configuration."""
    config = acting.pool.directory / f"{acting.agents[0].name}.toml"
    done = p2pool("verify", "leader", "--json", "--agent", str(directory), "--config", str(config))
    return done.returncode, held(done.stdout or done.stderr)


async def wait_proven(acting: Acting, agent: DevAgent, *, voters: int, after: int = 0) -> Any:
    """Wait until an agent shows a good proof of a leader in a term after this one."""

    async def proven() -> Any:
        code, told = verify(acting, agent.directory)
        assert code in (0, UNAVAILABLE), told  # Never refused: at most not there yet.
        good = code == 0 and told["term"] > after and len(told["committee"]) == voters
        return told if good else None

    return await acting.pool.wait(f"proof of a leader by {agent.name}", proven)


@contextmanager
def saying(directory: Path, answer: Any) -> Iterator[Path]:
    """An agent that answers every read with this; its data directory."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        directory.mkdir()
        (directory / API_URL_FILE).write_text(f"http://127.0.0.1:{server.server_port}")
        (directory / API_TOKEN_FILE).write_text("any")
        yield directory
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_the_leader_is_proven_and_so_is_the_next(
    pool_directory: Path, tmp_path: Path
) -> None:
    """By every agent alike, from the chain on; and no agent can show another."""
    acting = Acting.on(pool_directory)
    told = [await wait_proven(acting, agent, voters=3) for agent in acting.agents]
    assert len({one["leader"]["node_id"] for one in told}) == 1
    first = told[0]
    leader = next(a for a in acting.agents if a.node_id == first["leader"]["node_id"])
    other = next(a for a in acting.agents if a is not leader)
    old = await other.get("/v1/leader")

    await acting.kill(leader)
    second = await wait_proven(acting, other, voters=3, after=first["term"])
    assert second["leader"]["node_id"] != first["leader"]["node_id"]
    await acting.start(leader)
    await wait_proven(acting, leader, voters=3, after=first["term"])

    # A good certificate of the last leader proves that one, until it expires, and no other.
    with saying(tmp_path / "old", old) as directory:
        code, shown = verify(acting, directory)
        assert (code, shown["term"]) == (0, first["term"])
    good = await other.get("/v1/leader")
    for number, lie in enumerate(_lies(good, old)):
        with saying(tmp_path / str(number), lie) as directory:
            code, shown = verify(acting, directory)
            assert code == REFUSED, shown
            assert shown["message"]


def _lies(good: dict[str, Any], old: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answers that were tampered with, each in another way."""

    def changed(**proof: Any) -> dict[str, Any]:
        return {**good, "leader": {**good["leader"], "proof": {**good["leader"]["proof"], **proof}}}

    proof = good["leader"]["proof"]
    sealed = bytearray.fromhex(proof["certificate"][0])
    sealed[-1] ^= 1
    yield changed(certificate=[sealed.hex(), *proof["certificate"][1:]])
    yield changed(certificate=proof["certificate"][:1])
    yield changed(certificate=[proof["certificate"][0]] * 2)
    yield changed(certificate=[proof["certificate"][0], old["leader"]["proof"]["certificate"][0]])
    yield changed(links=proof["links"][:-1])
    yield changed(links=[{**link, "signatures": []} for link in proof["links"]])
    yield changed(log_id="00" * 32)
    yield changed(base=[v for v in proof["links"][-1]["voters"] if v not in proof["base"]][:1])


async def test_nothing_is_proven_of_honest_voters(pool_directory: Path) -> None:
    """Through all elections of this pool."""
    acting = Acting.on(pool_directory)
    for agent in acting.agents:
        assert (await agent.get("/v1/evidence"))["evidence"] == []
