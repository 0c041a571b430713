"""`p2pool agent check` on a real pool, and an agent that stays out on a machine that fails."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from p2pool.dev.engine.engine import Engine
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool

pytestmark = [pytest.mark.e2e, pytest.mark.chain, pytest.mark.docker]

DEADLINE_S = 120


def checks_of(pool_directory: Path, *arguments: str, **environment: str) -> tuple[int, Any]:
    """Exit code and answer of the command, for the first agent of the pool."""
    done = p2pool(
        "agent",
        "check",
        "--config",
        str(pool_directory / "agent-1.toml"),
        "--data-dir",
        str(pool_directory / "agent-1"),
        "--node-key",
        str(pool_directory / "keys" / "agent-1-node.json"),
        "--json",
        *arguments,
        **environment,
    )
    assert done.stdout, done.stderr
    return done.returncode, held(done.stdout)


def test_a_members_machine_passes(pool_directory: Path) -> None:
    """Hardware, a container on the real engine, and the chain that says that it is in the pool."""
    groups = ("--only", "hardware", "--only", "software", "--only", "chain")
    code, answer = checks_of(pool_directory, *groups)
    by_name = {check["name"]: check for check in answer["checks"]}
    assert (code, answer["verdict"] in ("pass", "warn")) == (0, True), answer
    assert by_name["a container"]["verdict"] == "pass"
    assert by_name["node"]["found"].endswith("is in the pool")
    assert by_name["pool"]["verdict"] == "pass"


def test_what_fails_makes_the_exit_code_and_says_what_to_do(pool_directory: Path) -> None:
    """An engine that is away, for one."""
    code, answer = checks_of(
        pool_directory,
        "--only",
        "software",
        P2POOL_RUNTIME__KIND="docker",
        P2POOL_RUNTIME__DOCKER_HOST="unix:///nowhere.sock",
    )
    (check,) = answer["checks"]
    assert (code, answer["verdict"], check["name"]) == (1, "fail", "docker")
    assert check["todo"]


def test_people_get_a_table(pool_directory: Path) -> None:
    """With the verdict of each check, and what to do under those that did not pass."""
    done = p2pool(
        "agent",
        "check",
        "--config",
        str(pool_directory / "agent-1.toml"),
        "--data-dir",
        str(pool_directory / "agent-1"),
        "--only",
        "chain",
    )
    assert done.returncode == 0, done.stderr
    assert "chain: endpoint" in done.stdout
    assert "-> " in done.stdout
    assert "0 failed" in done.stdout


def test_an_agent_on_a_machine_that_fails_stays_out_and_says_why(
    pool_directory: Path, engine: Engine, tmp_path: Path
) -> None:
    """A disk without the reserve: no transaction is sent, and the log names the check."""
    made = p2pool(
        "wallet",
        "new",
        str(tmp_path / "node.json"),
        "--passphrase-file",
        str(pool_directory / "keys" / "passphrase"),
        "--light",
    )
    assert made.returncode == 0, made.stderr
    environment = {
        **os.environ,
        "P2POOL_RESOURCES__DISK_RESERVE_BYTES": str(2**49),
        "P2POOL_API__BIND": "127.0.0.1:0",
    }
    agent = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "p2pool",
            "agent",
            "run",
            "--log-format",
            "json",
            "--config",
            str(pool_directory / "agent-1.toml"),
            "--data-dir",
            str(tmp_path / "data"),
            "--node-key",
            str(tmp_path / "node.json"),
            "--passphrase-file",
            str(pool_directory / "keys" / "passphrase"),
            "--provider-key",
            str(pool_directory / "keys" / "agent-1-provider.json"),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    timer = threading.Timer(DEADLINE_S, agent.kill)
    timer.start()
    assert agent.stderr is not None
    seen: list[dict[str, Any]] = []
    try:
        for line in agent.stderr:
            if line.startswith("{"):
                seen.append(json.loads(line))
            if seen and "does not qualify" in seen[-1].get("event", ""):
                break
    finally:
        agent.send_signal(signal.SIGINT)
        agent.communicate(timeout=DEADLINE_S)
        timer.cancel()
    assert seen[-1]["failed"] == ["disk"], seen[-5:]
    told = next(one for one in seen if one.get("check") == "hardware: disk")
    assert "kept" in told["todo"] or "Free some space" in told["todo"]
    assert not any(one.get("event") == "joining the pool" for one in seen)
