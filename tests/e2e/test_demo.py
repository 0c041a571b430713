"""The demonstration, as a user runs it: it succeeds, and leaves nothing behind."""

from pathlib import Path

import docker
import psutil
import pytest

from p2pool.dev.engine.engine import Engine
from tests.cli.output.held import held
from tests.e2e.conftest import p2pool
from tests.first_run.harness import trio_watch
from tests.first_run.harness.call_coverage import missing

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]


def _ours(directory: Path) -> set[int]:
    """Processes of pools below a directory; somebody else may show the demonstration too."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(directory) in line:
            found.add(process.pid)
    return found


def test_the_demo_succeeds_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    """Another master in another term, untouched containers, lines from afar; then nothing. No
    process of it touches trio from a thread."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    images, networks = len(client.images()), len(client.networks())
    containers = len(client.containers(all=True))
    temporary, seen = tmp_path / "tmp", tmp_path / "seen"
    temporary.mkdir()
    done = p2pool("dev", "demo", "--json", TMPDIR=str(temporary), **trio_watch.environment(seen))
    assert done.returncode == 0, done.stderr
    told = held(done.stdout)
    assert told["runtime"] == "docker"
    assert told["second_master"]["term"] > told["first_master"]["term"]
    assert told["second_master"]["node_id"] != told["first_master"]["node_id"]
    assert told["containers_untouched"] == 3
    assert sorted(line.split()[1] for line in told["log_lines"]) == ["0", "1", "2"]
    assert _ours(tmp_path) == set()
    assert list(temporary.iterdir()) == []
    assert len(client.containers(all=True)) == containers
    assert (len(client.images()), len(client.networks())) == (images, networks)
    client.close()
    watched = trio_watch.read(seen)
    assert not watched.misuses, "\n".join(watched.misuses)
    assert missing("demo", watched) == []
