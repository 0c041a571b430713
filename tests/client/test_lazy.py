"""What a command costs is what it needs: reads import no curve, no framework, no message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from p2pool.cli.lazy import LazyGroup
from p2pool.cli.main import cli
from p2pool.cli.shared.lookup import NODE_DIGITS_MAX
from p2pool.cli.wallet import wallet
from p2pool.model.access.requests import Action
from p2pool.model.ids import ADDRESS_BYTES
from p2pool.model.ports.agent import SubmitCommand
from tests.cli.command_tree import context_of, every_command
from tests.client.conftest import Commands, Served
from tests.wire.samples import NODE_ID

HEAVY = (
    *("attrs", "coincurve", "Crypto", "docker", "email", "eth_account", "eth_utils", "http.client"),
    *("httpx2", "libp2p", "nacl", "platformdirs", "py_ecc", "pydantic", "rich", "ssl", "trio"),
    *(
        "web3",
        "p2pool.agent",
        "p2pool.drivers.failures",
        "p2pool.drivers.keys",
        "p2pool.model.messages",
        "p2pool.wire",
    ),
)
CURVES = (
    *("coincurve", "Crypto", "eth_account", "http.client", "nacl", "p2pool.model.messages"),
    *("py_ecc", "pydantic", "rich", "trio", "web3"),
)
MODULES_MAX = 42
"""Of our own, loaded by one read: 23 now."""


@pytest.mark.parametrize(
    "args",
    [
        *(["access", "ls"], ["node", "ls"], ["node", "show", "0x12345678"], ["pool", "show"]),
        *(["task", "ls"], ["volume", "ls"]),
    ],
)
def test_a_read_imports_little(args: list[str]) -> None:
    """By modules, not by time: it ends where no agent answers, after all was imported."""
    code = (
        "import json, sys\nfrom p2pool.cli.main import run\n"
        f"code = run({args!r})\n"
        "own = [m for m in sys.modules if m.startswith('p2pool')]\n"
        f"print(json.dumps([code, [m for m in {HEAVY!r} if m in sys.modules], own]))"
    )
    environment = {**os.environ, "P2POOL_AGENT": "http://127.0.0.1:9", "P2POOL_TOKEN": "x" * 40}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    exit_code, heavy, own = json.loads(done.stdout)
    assert (exit_code, heavy) == (5, [])
    assert NODE_DIGITS_MAX == 2 * ADDRESS_BYTES
    assert len(own) <= MODULES_MAX, own


async def test_signing_with_an_unlocked_key_imports_no_curve(
    served: Served, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that holds the key has it; and it signs as the key file would."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    told = await commands(wallet, "unlock", "--for", "5m")
    assert told.exit_code == 0, told
    code = (
        "import json, sys\nfrom p2pool.cli.main import run\n"
        "code = run(['task', 'stop', 'train', '--json'])\n"
        f"print(json.dumps([code, [m for m in {CURVES!r} if m in sys.modules]]), file=sys.stderr)"
    )
    environment = {**os.environ, **commands.environment}
    del environment["P2POOL_PASSPHRASE_FILE"]
    done = await trio.run_process(
        [sys.executable, "-c", code], capture_stdout=True, capture_stderr=True, env=environment
    )
    assert json.loads(done.stderr) == [0, []]
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert (bytes(asked.signer), asked.signed.request.action) == (bytes(NODE_ID), Action.STOP)
    assert "is locked." in (await commands(wallet, "lock")).stdout
    assert "already" in (await commands(wallet, "lock")).stdout
    for wrong in ("0s", "25h"):
        assert (await commands(wallet, "unlock", "--for", wrong)).exit_code == 2


def test_the_lines_of_lazy_commands_are_their_own() -> None:
    """The table's line is the first of the command's help: nobody keeps two texts alike by hand."""
    found = 0
    for _, group in every_command():
        if not isinstance(group, LazyGroup) or group is cli:
            continue
        for name, (_, line) in group.table.items():
            command = group.get_command(context_of(group, ""), name)
            assert command is not None
            assert command.get_short_help_str(200) == line, name
            found += 1
    assert found > 10
