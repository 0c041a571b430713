"""Every flag of `p2pool task run` becomes what is signed, or says how it is written."""

import io
import json

import attrs
import pytest

from p2pool.cli.task import progress
from p2pool.cli.task.group import task
from p2pool.codec.spec.spec import parse_spec
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.tasks.spec import Mount, MountKind, PublishedPort, PullPolicy, RestartMode
from tests.api.fakes import TASK_ID, sample_view
from tests.client.conftest import Commands, Served

FLAGS = """
    run --image busybox --pull always --entrypoint /bin/sh --swap 1g --shm 2g --disk 10GiB --pids 99
    --read-only --mount type=task,source=data,target=/data,size=1GiB,keep=7d
    --mount type=bind,src=/srv/set,dst=/set,readonly --mount type=tmpfs,target=/tmp,size=64m
    -p 8080:80 -p 53/udp --restart on-failure --restart-attempts 7 --restart-unhealthy
    --deadline 2h --stop-grace 30s --label team=a --label tier=gold=1 -- -c true
"""


async def test_flags_of_containers(served: Served, commands: Commands) -> None:
    """As docker writes them."""
    result = await commands(task, *FLAGS.split())
    assert result.exit_code == 0, result
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    spec = parse_spec(asked.signed.request.spec_json, BASE_LEVEL)
    assert (spec.pull, spec.read_only, spec.entrypoint) == (PullPolicy.ALWAYS, True, ("/bin/sh",))
    wanted = spec.resources
    assert (wanted.swap_bytes, wanted.shm_bytes, wanted.disk_bytes) == (2**30, 2**31, 10 * 2**30)
    assert wanted.pids == 99
    assert spec.mounts == (
        Mount(MountKind.TASK, "/data", "data", size_bytes=2**30, keep_s=7 * 86400),
        Mount(MountKind.BIND, "/set", "/srv/set", read_only=True),
        Mount(MountKind.TMPFS, "/tmp", size_bytes=2**26),
    )
    assert spec.ports == (PublishedPort(80, 8080), PublishedPort(53, protocol="udp"))
    assert (spec.restart.mode, spec.restart.attempts) == (RestartMode.ON_FAILURE, 7)
    assert spec.restart.on_unhealthy
    assert (spec.deadline_s, spec.stop_grace_s) == (7200, 30)
    assert spec.labels == (("team", "a"), ("tier", "gold=1"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--mount type=task,targt=/x", "'targt=/x'"),
        ("--mount source", "'source'"),
        ("--mount type=tmpfs,target=/x,size=big", "512MiB"),
        ("-p http", "[HOST:]PORT"),
        ("-p 1:", "[HOST:]PORT"),
        ("--pull sometimes", "if-not-present"),
        ("--deadline soon", "90s"),
        ("--label team", "NAME=VALUE"),
        ("--label a=1 --label a=2", "--label a is given twice"),
    ],
)
async def test_a_flag_that_is_not_good(
    served: Served, commands: Commands, words: str, said: str
) -> None:
    """Exit code 2, and what is wrong with it; nothing is sent."""
    result = await commands(task, "run", "--image", "a", *words.split())
    assert (result.exit_code, served.port.asked) == (2, [])
    assert said in result.stderr


async def test_tasks_are_found_by_their_labels(served: Served, commands: Commands) -> None:
    """By the name alone or with its value, all of those given; `show` writes them."""
    (one,) = sample_view().tasks
    spec = attrs.evolve(one.spec, labels=(("team", "a"), ("tier", "gold")))
    served.port.seen = attrs.evolve(sample_view(), tasks=(attrs.evolve(one, spec=spec),))
    shown = await commands(task, "show", TASK_ID.hex())
    assert "team=a, tier=gold" in shown.stdout
    for words, count in (("team", 1), ("team=a", 1), ("team=b", 0), ("none", 0), ("team=", 0)):
        result = await commands(task, "ls", "--json", "--label", words)
        assert len(json.loads(result.stdout)) == count, words
    both = await commands(task, "ls", "--json", "--label", "team=a", "--label", "tier=lead")
    assert json.loads(both.stdout) == []
    empty = await commands(task, "ls", "--label", "=a")
    assert empty.exit_code == 2
    assert "NAME=VALUE" in empty.stderr


def test_a_pull_is_shown_by_the_tenth_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A log file gets a line for each tenth, a terminal a bar."""
    copy = {
        "id": "a.0",
        "replica": 0,
        "state": "pulling",
        "node_id": "0x11",
        "reason": "",
        "pulled_bytes": 0,
        "pull_total_bytes": 100 * 2**20,
    }
    one = {"state": "pending", "allocations": [copy], "spec": {"replicas": 1}}
    with progress.Waiting() as shown:
        for percent in range(101):
            copy["pulled_bytes"] = percent * 2**20
            shown.show(one)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[5] == "pending: 0/1 copies run; image of copy 0 50% of 100 MiB"


def test_a_pull_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how much of it is here."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    copy = {
        "id": "a.0",
        "replica": 0,
        "state": "pulling",
        "node_id": "0x1122334455667788",
        "reason": "",
        "pulled_bytes": 50 * 2**20,
        "pull_total_bytes": 100 * 2**20,
    }
    with progress.Waiting() as shown:
        shown.show({"state": "pending", "allocations": [copy], "spec": {}})
    assert "50.0/100.0 MiB" in terminal.getvalue()
