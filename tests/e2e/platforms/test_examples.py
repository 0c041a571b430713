"""The programs of docs/examples run as they stand."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pool.client import Client, KeySigner
from p2pool.dev.pool import PASSPHRASE
from tests.e2e.harness.actions import Acting
from tests.e2e.platforms.conftest import ROOT, small

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

EXAMPLES = ROOT / "docs" / "examples"
JUDGES = ROOT / "tests" / "validator" / "judging" / "cases.py"
"""Tests run the example of a judge there."""
DEADLINE_S = 180
_SIGNER = """
import json, sys
from p2pool.client import KeySigner
typed = json.load(sys.stdin)
if "forbidden" in typed["message"]["specJson"]:
    sys.exit("it names what nobody may run")
print("0x" + KeySigner.from_keystore(sys.argv[1], sys.argv[2])(typed).hex())
"""


async def example(
    acting: Acting, name: str, *words: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """An example's run, with the manager's key."""
    keys = acting.pool.directory / "keys"
    known = {
        "P2POOL_KEY": str(keys / "manager.json"),
        "P2POOL_PASSPHRASE_FILE": str(keys / "passphrase"),
    }

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(EXAMPLES / name), *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
            env={**os.environ, **known, **environment},
        )

    return await trio.to_thread.run_sync(run)


def directories(acting: Acting) -> list[str]:
    return [str(agent.directory) for agent in acting.agents]


async def test_submit(acting: Acting) -> None:
    """It prints the log, line by line, and ends with the task's exit code."""
    name = f"example-{secrets.token_hex(3)}"
    done = await example(
        acting,
        *("submit.py", name, *directories(acting), "--"),
        *("sh", "-c", "echo one; echo two; exit 3"),
    )
    assert (done.returncode, done.stdout) == (3, "one\ntwo\n"), done.stderr
    assert f"{name} failed" in done.stderr
    done = await example(acting, "submit.py", "Bad Name", directories(acting)[0], "--", "true")
    assert done.returncode == 1
    assert "name" in done.stderr


async def test_watch(acting: Acting, manager: KeySigner, tmp_path: Path) -> None:
    """Run again and again it goes on where it was: no event is shown twice, and none left out."""
    place = tmp_path / "place"
    client = Client(directories(acting), signer=manager)

    def newest() -> str:
        return acting.agents[0].client().newest_event()

    place.write_text(await trio.to_thread.run_sync(newest))
    begin = place.read_text()

    def submit() -> Any:
        task = client.submit(small(f"watched-{secrets.token_hex(3)}", "true"))
        return client.wait(str(task.task_id), until="ended", timeout_s=120)

    assert (await trio.to_thread.run_sync(submit)).state == "succeeded"
    shown: list[str] = []
    for _ in range(3):
        done = await example(acting, "watch.py", str(place), "1", *directories(acting))
        assert done.returncode == 0, done.stderr
        shown += [line.split()[0] for line in done.stdout.splitlines()]
        assert place.read_text() == shown[-1]

    def three() -> list[str]:
        with client.events(begin) as events:
            return [next(events).id for _ in range(3)]

    assert shown == await trio.to_thread.run_sync(three)


async def test_kms(acting: Acting, tmp_path: Path) -> None:
    """The key is in another process, which sees what it signs and may refuse."""
    signer = tmp_path / "signer.py"
    signer.write_text(_SIGNER)
    key = str(acting.pool.directory / "keys" / "manager.json")
    words = (sys.executable, str(signer), key, PASSPHRASE)
    at = str(acting.agents[0].directory)
    done = await example(acting, "kms.py", at, f"kms-{secrets.token_hex(3)}", *words)
    assert (done.returncode, done.stdout) == (0, "succeeded\n"), done.stderr
    done = await example(acting, "kms.py", at, f"forbidden-{secrets.token_hex(3)}", *words)
    assert done.returncode == 1
    assert "The signer refused." in done.stderr


def test_all_examples_are_here() -> None:
    """One that no test runs would rot."""
    tests = [*Path(__file__).parent.glob("test_*.py"), JUDGES]
    text = "".join(path.read_text() for path in tests)
    for path in EXAMPLES.iterdir():
        assert f'"{path.name}"' in text, path.name
    assert json.dumps(sorted(path.name for path in EXAMPLES.iterdir()))
