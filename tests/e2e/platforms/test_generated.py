"""Clients that generators make of the served document submit tasks: in Python and in TypeScript.

The generators come from PyPI and npm, and are installed into the test's own directory.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from p2pool.client import Client, KeySigner
from p2pool.client.discovery import agent_in
from p2pool.dev.pool import PASSPHRASE
from tests.e2e.harness.actions import Acting
from tests.e2e.platforms.conftest import ROOT, small

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

DEADLINE_S = 240
NO_JSON = ("/v1/events", "/logs", "/export", "/v1/validations/{digest}")
PYTHON_GENERATOR = "openapi-python-client>=0.26,<1"
NO_JSON = ("/v1/events", "/logs", "/export", "/v1/validations/{digest}")
"""Routes of which the generator may leave answers out."""
NPM = ("openapi-typescript@7", "typescript@5", "@types/node@20")
_PYTHON = """
import json, sys
from p2pool_agent_client import AuthenticatedClient
from p2pool_agent_client.api.tasks import get_task, list_tasks, send_request
from p2pool_agent_client.models import Accepted, Problem, SignedRequest, TaskAnswer

url, token, path = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token)
body = SignedRequest.from_dict(json.load(open(path)))
said = send_request.sync(client=client, body=body)
assert isinstance(said, Accepted), said
answer = get_task.sync(said.task_id, client=client, consistent=True)
assert isinstance(answer, TaskAnswer), answer
assert answer.task.allocations is not None
assert any(one.task_id == said.task_id for one in list_tasks.sync(client=client, limit=5).tasks)
refused = get_task.sync("nothing-of-that-name", client=client)
assert isinstance(refused, Problem), refused
print(json.dumps([said.task_id, said.duplicate, answer.task.name, refused.code]))
"""
_TYPESCRIPT = """
import { execFileSync } from "node:child_process";
import { ending, send, signed, type Pool, type Wallet } from "./wallet";
import type { components } from "./p2pool";

const [url, token, python, script, account, pool, spec] = process.argv.slice(2);
const wallet: Wallet = {
  async request({ method, params }) {
    if (method !== "eth_signTypedData_v4") throw new Error(method);
    return execFileSync(python, [script], { input: String(params[1]) }).toString().trim();
  },
};

async function main(): Promise<void> {
  const { chain_id, contract, pool_id } = JSON.parse(pool) as components["schemas"]["Pool"];
  const named = { chainId: chain_id, contract, poolId: pool_id as Pool["poolId"] };
  const body = await signed(wallet, account, named, spec);
  const said = await send([["http://127.0.0.1:9", "nobody"], [url, token]], body);
  const again = await send([[url, token]], body);
  const task = { state: "succeeded" } as components["schemas"]["Task"];
  console.log(JSON.stringify([said.task_id, said.duplicate, again.duplicate, ending(task)]));
}

void main();
"""
_WRONG = """
import type { components } from "./p2pool";
const wrong: components["schemas"]["TaskRequest"]["action"] = "explode";
export default wrong;
"""
_SIGNER = """
import json, os, sys
from p2pool.client import KeySigner
signer = KeySigner.from_keystore(os.environ["KEY"], os.environ["SECRET"])
print("0x" + signer(json.load(sys.stdin)).hex())
"""


def unavailable(reason: str) -> None:
    """Skip where a registry cannot be reached; in the gate that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


async def run(*words: str, at: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A program's end."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def ended() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=at,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
            env={**clean, **environment},
        )

    return await trio.to_thread.run_sync(ended)


async def done(*words: str, at: Path, **environment: str) -> str:
    """What a program printed that has to succeed."""
    ended = await run(*words, at=at, **environment)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


async def installed(*words: str, at: Path) -> None:
    """Packages of a registry."""
    ended = await run(*words, at=at)
    if ended.returncode != 0:
        unavailable(f"{words[:3]} failed: {ended.stderr[-500:]}")


@pytest.fixture
async def document(acting: Acting, tmp_path: Path) -> Path:
    """The document as the agent serves it."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(await acting.agents[0].get("/v1/openapi.json")))
    return path


async def test_a_python_client_is_generated(
    acting: Acting, manager: KeySigner, document: Path, tmp_path: Path
) -> None:
    """It submits a task that then runs, reads it, and has refusals as what they are. Nothing in the
    document is left out but the two streams and what is no JSON."""
    await done(sys.executable, "-m", "venv", "venv", at=tmp_path)
    program = str(tmp_path / "venv" / "bin" / "python")
    quiet = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    await installed(program, *quiet, PYTHON_GENERATOR, at=tmp_path)
    generator = str(tmp_path / "venv" / "bin" / "openapi-python-client")
    ended = await run(
        *(generator, "generate", "--path", str(document), "--meta", "none"),
        *("--output-path", str(tmp_path / "p2pool_agent_client")),
        at=tmp_path,
        PATH=f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    for line in said.splitlines():
        if line.startswith(("WARNING", "ERROR")):
            assert any(route in line for route in NO_JSON), said
    client = Client([agent.directory for agent in acting.agents], signer=manager)
    name = f"generated-{secrets.token_hex(3)}"
    prepared = await trio.to_thread.run_sync(lambda: client.prepare(small(name, "true")))
    body = tmp_path / "body.json"
    body.write_text(json.dumps(prepared.body))
    script = tmp_path / "use.py"
    script.write_text(_PYTHON)
    found = agent_in(acting.agents[1].directory)
    out = await done(program, str(script), found.url, found.token, str(body), at=tmp_path)
    assert json.loads(out) == [prepared.task_id, False, name, "not-found"]
    task = await trio.to_thread.run_sync(
        lambda: client.wait(prepared.task_id, until="ended", timeout_s=120)
    )
    assert task.state == "succeeded"


async def test_typescript_types_are_generated(
    acting: Acting, manager: KeySigner, document: Path, tmp_path: Path
) -> None:
    """The example type-checks, a wrong word does not; compiled it submits a task with a wallet, by
    the second of two agents, since the first is away."""
    if shutil.which("npm") is None:
        unavailable("node is not installed: apt-get install nodejs npm")
    (tmp_path / "package.json").write_text('{"private": true}')
    await installed("npm", "install", "--no-audit", "--no-fund", *NPM, at=tmp_path)
    tools = tmp_path / "node_modules" / ".bin"
    await done(str(tools / "openapi-typescript"), str(document), "-o", "p2pool.d.ts", at=tmp_path)
    shutil.copy(ROOT / "docs" / "examples" / "wallet.ts", tmp_path)
    (tmp_path / "main.ts").write_text(_TYPESCRIPT)
    strict = ("--strict", "--target", "es2022", "--lib", "es2023,dom", "--types", "node")
    module = (*strict, "--module", "commonjs", "--moduleResolution", "node10")
    await done(str(tools / "tsc"), *module, "--outDir", "out", "main.ts", at=tmp_path)
    (tmp_path / "wrong.ts").write_text(_WRONG)
    wrong = await run(str(tools / "tsc"), *module, "--noEmit", "wrong.ts", at=tmp_path)
    assert wrong.returncode != 0
    assert "explode" in wrong.stdout
    signer = tmp_path / "signer.py"
    signer.write_text(_SIGNER)
    found = agent_in(acting.agents[2].directory)
    client = Client([agent.directory for agent in acting.agents], signer=manager)
    name = f"typed-{secrets.token_hex(3)}"
    prepared = await trio.to_thread.run_sync(lambda: client.prepare(small(name, "true")))
    spec = prepared.body["request"]["spec_json"]
    pool = json.dumps((await acting.agents[2].get("/v1/pool"))["pool"])
    words = (found.url, found.token, sys.executable, str(signer), manager.address, pool, spec)
    out = await done(
        *("node", "out/main.js", *words),
        at=tmp_path,
        KEY=str(acting.pool.directory / "keys" / "manager.json"),
        SECRET=PASSPHRASE,
        PYTHONPATH=str(ROOT),
    )
    task_id, *rest = json.loads(out)
    assert rest == [False, True, "succeeded"]
    task = await trio.to_thread.run_sync(lambda: client.wait(task_id, until="ended", timeout_s=120))
    assert (task.name, task.state) == (name, "succeeded")
