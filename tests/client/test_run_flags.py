"""Every flag of `p2pool task run` becomes what is signed, or says how it is written."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from p2pool.cli.task import progress
from p2pool.cli.task.group import task
from p2pool.codec.spec.spec import parse_spec
from p2pool.drivers.input_files import forget_input
from p2pool.model.errors import BadSpec
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import TaskTable
from p2pool.model.tasks.spec import (
    Mount,
    MountKind,
    PublishedPort,
    PullPolicy,
    RestartMode,
    TaskSpec,
)
from tests.api.fakes import TASK_ID, sample_view
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served

FLAGS = """
    run --image busybox --pull always --entrypoint /bin/sh --swap 1g --shm 2g --disk 10GiB --pids 99
    --read-only --mount type=task,source=data,target=/data,size=1GiB,keep=7d
    --mount type=bind,src=/srv/set,dst=/set,readonly --mount type=tmpfs,target=/tmp,size=64m
    -p 8080:80 -p 53/udp --restart on-failure --restart-attempts 7 --restart-unhealthy
    --deadline 2h --stop-grace 30s --label team=a --label tier=gold=1 -- -c true
"""


async def signed_by(served: Served, commands: Commands, words: str) -> TaskSpec:
    """The specification that `task run` with these flags has signed."""
    served.port.seen = attrs.evolve(served.port.seen, feature_level=DISTRUST_LEVEL)
    result = await commands(task, "run", "--image", "a", *words.split())
    assert result.exit_code == 0, result
    asked = served.port.asked.pop()
    assert isinstance(asked, SubmitCommand)
    return parse_spec(asked.signed.request.spec_json, DISTRUST_LEVEL)


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
        ("--mount type=tmpfs,target=/x,size=64", "has no unit"),
        ("--mount type=task,source=a,target=/x,size=64k", "1 MiB at least"),
        ("--mount type=tmpfs,target=/x,readonly=perhaps", "'perhaps'"),
        ("--mount type=tmpfs,target=/x,target=/y", "twice"),
        ("--mount type=tmpfs,target=x", "--mount (no. 1) target is not an absolute path"),
        ("--mount type=tmpfs,target=/x,keep=400d", "400d is above 365d"),
        ("-v /srv/set:/set", "/srv/set:/set:ro"),
        ("-v data", "NAME:DIR"),
        ("-v a:/b:z", "NAME:DIR"),
        ("-v a:b", "--mount (no. 1) target is not an absolute path"),
        ("-p http", "[HOST:]PORT"),
        ("-p 1:", "[HOST:]PORT"),
        ("-p 127.0.0.1:80:80", "leave out 127.0.0.1"),
        ("-p [::1]:80:80", "leave out [::1]"),
        ("-p 80/sctp", "'sctp' is not tcp or udp"),
        ("-p 0", "--publish (no. 1) container is 0"),
        ("-p 70000", "70000 is not a port"),
        ("-p 90-80", "90-80 is not a port"),
        ("-p 1000-1001:80", "differ in length"),
        ("-p 1-65535", "a range of 32"),
        ("--replicas 0", "--replicas"),
        ("--replicas -1", "--replicas"),
        ("--gpus -1", "--gpus"),
        ("--gpus 65", "--gpus"),
        ("--pids 0", "--pids"),
        ("--priority 101", "--priority"),
        ("--memory 2XB", "--memory"),
        ("--memory 80", "has no unit: write 80MiB, 80GiB"),
        ("--memory 0", "--memory"),
        ("--memory 4k", "6 MiB at least"),
        ("--memory 2i", "not a size"),
        ("--gpus 1 --gpu-memory 80", "--gpu-memory"),
        ("--gpus 1 --gpu-memory 80b", "1 MiB at least, or 0 for none"),
        ("--disk 10", "--disk"),
        ("--swap 512", "--swap"),
        ("--shm 64", "--shm"),
        ("--disk 9999p", "too large"),
        ("--cpus 0", "--cpus"),
        ("--cpus .", "--cpus"),
        ("--cpus 0.00001", "three decimals"),
        ("--gpu-model h100", "--gpus is 0, but a GPU model"),
        ("--name Web", "--name is not a name"),
        ("--stop-grace 2h", "--stop-grace"),
        ("-e =x", "no name"),
        ("-e P2POOL_X=1", "--env P2POOL_X is reserved"),
        ("-e NOT_SET_HERE", "NOT_SET_HERE is not set here"),
        ("--env-file /nowhere", "--env-file /nowhere cannot be read"),
        ("--pull sometimes", "if-not-present"),
        ("--deadline soon", "90s"),
        ("--label team", "NAME=VALUE"),
        ("--label a=1 --label a=2", "--label a is given twice"),
        ("--label A=1", "--label A is not the name of a label"),
        ("--label =1", "--label is not the name of a label"),
        ("-e NVIDIA_VISIBLE_DEVICES=all", "ask for GPUs with --gpus"),
        ("-v a:/x -v b:/x", "--mount names a target twice"),
        ("-p 80:80 -p 80:81", "--publish names a host port twice"),
        ("-v a:/b -v ../a:/x:ro", "write its whole path"),
        ("-v ~/a:/x:ro", "write its whole path"),
        ("--mount type=bind,source=/a,target=/x", "--mount (no. 1) readonly must be true"),
        ("--mount type=pool,source=a,target=/x,keep=1d", "--mount (no. 1) keep can only"),
        ("--mount kind=tmpfs,target=/x,size=1b", "64 KiB at least"),
        ("--replicas 1001", "--replicas': 1001 is above 1000, the most"),
        ("--replicas 1_0", "'1_0' is not a valid integer"),
        ("--gpus \uff11", "is not a valid integer"),
        ("--name=", "--name is empty"),
        ("--label a=\udcff", "--label: 'a=\\udcff' is not text in UTF-8"),
        ("-- \udcff", "The command: '\\udcff' is not text in UTF-8"),
        ("--image=", "--image is empty"),
        ("--entrypoint=", "--entrypoint is empty"),
        ("--gpus 1 --gpu-model=", "--gpu-model is empty"),
        ("--requirements=", "--requirements is empty"),
        ("--requirements gpus=8", "--requirements cannot be read: 'gpus' is none of the keys"),
        ("--requirements ram_mb=64GB", "ram_mb='64GB' is not a number"),
        ("--requirements ;", "--requirements asks for nothing"),
    ],
)
async def test_a_flag_that_is_not_good(
    served: Served, commands: Commands, words: str, said: str
) -> None:
    """Exit code 2, and what is wrong with it; nothing is sent."""
    result = await commands(task, "run", "--image", "a", *words.split())
    assert (result.exit_code, served.port.asked) == (2, [])
    assert said in result.stderr.replace("\n", " ")
    assert "resources." not in result.stderr


@pytest.mark.parametrize(
    ("words", "milli"), [("2", 2000), ("1.5", 1500), (".5", 500), ("0.50", 500), ("1.", 1000)]
)
async def test_processors_as_docker_takes_them(
    served: Served, commands: Commands, words: str, milli: int
) -> None:
    """Whole, with decimals, and without the zero before them."""
    spec = await signed_by(served, commands, f"--cpus {words}")
    assert spec.resources.cpu_milli == milli


@pytest.mark.parametrize(
    ("words", "count"),
    [
        *(("1g", 2**30), ("1G", 2**30), ("1gb", 2**30), ("1GiB", 2**30), ("1024m", 2**30)),
        *((".5g", 2**29), ("0.5gib", 2**29), ("524288k", 2**29), ("536870912b", 2**29)),
    ],
)
async def test_sizes_as_docker_takes_them(
    served: Served, commands: Commands, words: str, count: int
) -> None:
    """With a unit in any case; bytes too, where they are said to be bytes."""
    spec = await signed_by(served, commands, f"--memory {words} --disk {words} --swap 0")
    assert (spec.resources.memory_bytes, spec.resources.disk_bytes) == (count, count)
    assert spec.resources.swap_bytes == 0


async def test_variables_come_from_standard_input(
    served: Served, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every flag that takes a file takes `-`."""
    forget_input()
    told = io.TextIOWrapper(io.BytesIO(b"A=1\n"))
    monkeypatch.setattr("p2pool.drivers.input_files.sys", SimpleNamespace(stdin=told))
    spec = await signed_by(served, commands, "--env-file -")
    assert dict(spec.environment) == {"A": "1"}


async def test_variables_as_docker_takes_them(
    served: Served, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any printable name, values from here, files; the last one counts, a flag before a file."""
    monkeypatch.setenv("P_HERE", "mine=1")
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# comment\r\n\r\n  A=1\r\nB= two words \nA=2\nP_HERE\nC=\n")
    words = f"-e cluster.name=x -e X-Y=1=2 -e B=flag --env-file {file}"
    spec = await signed_by(served, commands, words)
    assert dict(spec.environment) == {
        "A": "2",
        "B": "flag",
        "C": "",
        "P_HERE": "mine=1",
        "X-Y": "1=2",
        "cluster.name": "x",
    }
    file.write_text("A=1\n=2\n")
    result = await commands(task, "run", "--image", "a", "--env-file", str(file))
    assert (result.exit_code, "line 2" in result.stderr) == (2, True)
    file.write_bytes(b"A=\xff\n")
    result = await commands(task, "run", "--image", "a", "--env-file", str(file))
    assert (result.exit_code, "UTF-8" in result.stderr) == (2, True)


async def test_ports_and_volumes_as_docker_takes_them(served: Served, commands: Commands) -> None:
    """Ranges, a protocol in any case, the short form of a mount."""
    spec = await signed_by(served, commands, "-p 8000-8002:80-82/TCP -p :90 -p 53/UDP")
    assert spec.ports == (
        *(PublishedPort(80, 8000), PublishedPort(81, 8001), PublishedPort(82, 8002)),
        *(PublishedPort(90), PublishedPort(53, protocol="udp")),
    )
    spec = await signed_by(served, commands, "-v data:/data -v set:/set:ro -v /srv/a:/b:ro")
    assert spec.mounts == (
        Mount(MountKind.POOL, "/data", "data"),
        Mount(MountKind.POOL, "/set", "set", read_only=True),
        Mount(MountKind.BIND, "/b", "/srv/a", read_only=True),
    )


async def test_an_init_unless_it_is_turned_off(served: Served, commands: Commands) -> None:
    """An absent key is the default; a model is written in any case."""
    assert (await signed_by(served, commands, "--init")).init
    assert not (await signed_by(served, commands, "--no-init")).init
    spec = await signed_by(served, commands, "--gpus 1 --gpu-model NVIDIA-H100")
    assert spec.resources.gpu.model == "nvidia-h100"


async def test_requirements_are_signed_as_they_were_written(
    served: Served, commands: Commands
) -> None:
    """Whoever wrote them finds them again; without the flag there are none."""
    text = "gpu:count=8;gpu:model=H100;ram_mb=64000"
    spec = await signed_by(served, commands, f"--requirements {text}")
    assert spec.requirements == text
    assert (await signed_by(served, commands, "")).requirements == ""


async def test_the_keys_of_a_file_are_told_as_keys(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """A flag is blamed for what it says alone; a file's size needs its unit too."""
    path = tmp_path / "a.json"
    path.write_text('{"image": "a", "name": "x", "resources": {"disk_bytes": 10}}')
    error = (await commands(task, "run", "-f", str(path))).exception
    assert isinstance(error, BadSpec)
    assert "resources.disk_bytes is 10: sizes are in bytes" in str(error)
    result = await commands(task, "run", "-f", str(path), "--name", "A")
    assert result.exit_code == 2
    assert "--name is not a name" in result.stderr


async def test_tasks_are_found_by_their_labels(served: Served, commands: Commands) -> None:
    """By the name alone or with its value, all of those given; `show` writes them."""
    (one,) = sample_view().tasks
    spec = attrs.evolve(one.spec, labels=(("team", "a"), ("tier", "gold")))
    served.port.seen = attrs.evolve(sample_view(), tasks=(attrs.evolve(one, spec=spec),))
    shown = await commands(task, "show", TASK_ID.hex())
    assert "team=a, tier=gold" in shown.stdout
    for words, count in (("team", 1), ("team=a", 1), ("team=b", 0), ("none", 0), ("team=", 0)):
        result = await commands(task, "ls", "--json", "--label", words)
        assert len(held(result.stdout)) == count, words
    both = await commands(task, "ls", "--json", "--label", "team=a", "--label", "tier=lead")
    assert held(both.stdout) == []
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
        "oom_killed": False,
        "exit_code": None,
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
        "oom_killed": False,
        "exit_code": None,
    }
    with progress.Waiting() as shown:
        shown.show({"state": "pending", "allocations": [copy], "spec": {}})
    assert "50.0/100.0 MiB" in terminal.getvalue()


async def test_a_task_without_a_name_gets_one_that_is_free(
    served: Served, commands: Commands
) -> None:
    """Its image's, as long as no living task has that; a name that was given stays."""
    (one,) = sample_view().tasks
    held = attrs.evolve(one, spec=attrs.evolve(one.spec, name="a"))
    assert (await signed_by(served, commands, "")).name == "a"
    served.port.seen = attrs.evolve(served.port.seen, tasks=TaskTable((held,)))
    first, second = [(await signed_by(served, commands, "")).name for _ in range(2)]
    assert re.fullmatch("a-[0-9a-f]{4}", first)
    assert first != second
    assert (await signed_by(served, commands, "--name a")).name == "a"
    served.port.seen = attrs.evolve(
        served.port.seen, tasks=TaskTable((attrs.evolve(held, state="failed"),))
    )
    assert (await signed_by(served, commands, "")).name == "a"
