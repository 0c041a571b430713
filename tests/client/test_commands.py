"""Commands do what their user means through a real API, and say what to do where they cannot."""

import json
import re
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pool.cli.agent.group import agent
from p2pool.cli.documents import visible
from p2pool.cli.node.group import node
from p2pool.cli.pool.group import pool
from p2pool.cli.pool.settings import set_setting
from p2pool.cli.shared.output import age, size
from p2pool.cli.task.group import task
from p2pool.codec.spec.spec import parse_spec
from p2pool.drivers.chain.consent import invite_signer
from p2pool.model.access.requests import Action
from p2pool.model.errors import (
    BadKey,
    BadSpec,
    Conflict,
    Misconfigured,
    NoLeader,
    NotAllowed,
    NotFound,
    Unavailable,
)
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import Address, TaskId
from p2pool.model.messages.task_streams import LogChunk
from p2pool.model.ports.agent import InviteOffered, SubmitCommand
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import RestartMode
from p2pool.wire import typed_data
from tests.api.fakes import NOT_YOURS, OTHER_NODE, TASK_ID
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served
from tests.wire.samples import NODE_ID, POOL

ID = TASK_ID.hex()


# --- running ------------------------------------------------------------------------------------


S = AllocationState


async def test_flags_become_the_specification_that_is_signed(
    served: Served, commands: Commands
) -> None:
    """Units are converted, what is not said is left out, and the key's account signs."""
    flags = "--image busybox:1.36 --replicas 3 --gpus 2 --gpu-model h100 --cpus 1.5"
    more = "--memory 2GiB -e LR=0.1 --restart on-failure -- sh -c"
    result = await commands(task, "run", *f"{flags} {more}".split(), "echo $X --wait")
    assert result.exit_code == 0, result
    assert result.stdout == ID + "\n"
    assert "public" in result.stderr
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    assert asked.signer == Address(NODE_ID)
    spec = parse_spec(asked.signed.request.spec_json, BASE_LEVEL)
    assert (spec.name, spec.replicas, spec.command) == (
        "busybox",
        3,
        ("sh", "-c", "echo $X --wait"),
    )
    assert (spec.resources.cpu_milli, spec.resources.memory_bytes) == (1500, 2**31)
    assert (spec.resources.gpu.count, spec.resources.gpu.model) == (2, "h100")
    assert (spec.environment, spec.restart.mode) == ((("LR", "0.1"),), RestartMode.ON_FAILURE)


async def test_a_file_is_read_and_flags_win(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """TOML and JSON alike; a table is merged, not replaced."""
    toml, plain = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('name="train"\nimage="a"\n[resources]\ncpu_milli=2000\ngpu={count=1}\n')
    plain.write_text('{"name": "train", "image": "a", "resources": {"cpu_milli": 2000}}')
    for path in (toml, plain):
        result = await commands(task, "run", "-f", str(path), "--gpus", "4", "--json")
        assert held(result.stdout)["task_id"] == ID
        asked = served.port.asked.pop()
        assert isinstance(asked, SubmitCommand)
        spec = parse_spec(asked.signed.request.spec_json, BASE_LEVEL)
        assert (spec.name, spec.resources.cpu_milli, spec.resources.gpu.count) == ("train", 2000, 4)


async def test_all_that_is_wrong_with_a_file_is_said_at_once(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """Before anything is signed or sent."""
    path = tmp_path / "a.json"
    path.write_text('{"image": "a b", "name": "x", "replica": 2}')
    error = (await commands(task, "run", "-f", str(path))).exception
    assert isinstance(error, BadSpec)
    assert len(error.problems) == 2
    assert "did you mean 'replicas'?" in str(error)
    for text, said in (("{", "is not JSON"), ("[]", "does not hold an object")):
        path.write_text(text)
        error = (await commands(task, "run", "-f", str(path))).exception
        assert isinstance(error, BadSpec)
        assert said in str(error)
    assert served.port.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run", "--image"),
        ("run --image a -e FOO", "FOO=VALUE"),
        ("run --image a --memory lots", "512MiB"),
        ("run --image a --cpus half", "0.5"),
        ("run --image a --restart sometimes", "on-failure"),
    ],
)
async def test_a_flag_that_is_not_good_says_how_it_is_written(
    served: Served, commands: Commands, words: str, said: str
) -> None:
    """Exit code 2, and an example."""
    result = await commands(task, *words.split())
    assert (result.exit_code, served.port.asked) == (2, [])
    assert said in result.stderr


async def test_a_dry_run_prints_the_typed_data_and_signs_nothing(
    served: Served, commands: Commands
) -> None:
    """Exactly what a wallet would show, without a key; it can be signed as it is."""
    words = ("run", "--image", "busybox", "--dry-run", "--", "true")
    result = await commands(task, *words, signs=False)
    data = json.loads(result.stdout)
    assert data["domain"]["chainId"] == POOL.chain_id
    assert data["message"]["specJson"] == '{"command":["true"],"image":"busybox","name":"busybox"}'
    assert data["message"]["action"] == "submit"
    assert result.stdout.count("0x") >= 2
    stopped = json.loads((await commands(task, "stop", ID, "--dry-run", signs=False)).stdout)
    assert (stopped["message"]["action"], stopped["message"]["target"]) == ("stop", ID)
    grant = json.loads((await commands(task, "logs", ID, "--dry-run", signs=False)).stdout)
    assert (grant["primaryType"], grant["message"]["task"]) == ("ReadLogs", ID)
    assert served.port.asked == []
    assert served.port.logs.opened == []


async def test_waiting_ends_when_all_copies_run(served: Served, commands: Commands) -> None:
    """Exit code 0 with what runs; a task that failed gives 1; one that never runs gives up."""
    result = await commands(task, "run", "--image", "a", "--wait")
    assert (result.exit_code, "train runs: 1/1 copies run." in result.stderr) == (0, True)
    view = served.port.seen
    served.port.seen = attrs.evolve(view, tasks=(attrs.evolve(view.tasks[0], state="failed"),))
    assert (await commands(task, "run", "--image", "a", "--wait")).exit_code == 1
    served.port.seen = attrs.evolve(
        view, tasks=(attrs.evolve(view.tasks[0], state="pending", allocations=()),)
    )
    error = (await commands(task, "run", "--image", "a", "--wait", "--timeout", "1s")).exception
    assert isinstance(error, Unavailable)
    assert "task show" in error.hint


async def test_what_cannot_be_signed_says_why(commands: Commands, key: tuple[str, str]) -> None:
    """No key, a file that is none, and a wrong passphrase."""
    error = (await commands(task, "run", "--image", "a", signs=False)).exception
    assert isinstance(error, Misconfigured)
    assert "--key" in error.hint
    error = (await commands(task, "run", "--image", "a", "--key", key[1])).exception
    assert isinstance(error, BadKey)
    wrong = ("--passphrase-file", key[0])
    error = (await commands(task, "run", "--image", "a", *wrong)).exception
    assert isinstance(error, BadKey)
    assert "passphrase" in str(error)


async def test_the_agents_refusal_is_told_and_waiting_for_a_leader_too(
    served: Served, commands: Commands
) -> None:
    """A refusal ends the command; an election does not."""
    served.port.failures = [NOT_YOURS]
    error = (await commands(task, "run", "--image", "a")).exception
    assert isinstance(error, NotAllowed)
    served.port.failures = [NoLeader("No leader is known.")]
    result = await commands(task, "run", "--image", "a")
    assert (result.exit_code, "waiting: No leader is known." in result.stderr) == (0, True)


async def test_stopping_signs_a_request_for_the_task_that_is_named(
    served: Served, commands: Commands
) -> None:
    """By name, by the beginning of its id, or by its id; unknown and ambiguous names are told."""
    for name in ("train", ID[:6], ID):
        result = await commands(task, "stop", name)
        assert result.exit_code == 0, result
        asked = served.port.asked.pop()
        assert isinstance(asked, SubmitCommand)
        assert (asked.signed.request.action, asked.signed.request.target) == (Action.STOP, ID)
    assert isinstance((await commands(task, "stop", "nothing")).exception, NotFound)
    one = served.port.seen.tasks[0]
    twin = attrs.evolve(one, task_id=TaskId(b"t" * 16))
    served.port.seen = attrs.evolve(served.port.seen, tasks=(one, twin))
    assert isinstance((await commands(task, "stop", "train")).exception, Conflict)
    old = attrs.evolve(twin, state="succeeded")
    served.port.seen = attrs.evolve(served.port.seen, tasks=(one, old))
    assert (await commands(task, "stop", "train")).exit_code == 0


async def test_what_has_ended_is_not_said_to_stop(served: Served, commands: Commands) -> None:
    """A stop of it signs nothing, and says what became of the task."""
    view = served.port.seen
    old = attrs.evolve(view.tasks[0], state="succeeded")
    served.port.seen = attrs.evolve(view, tasks=(old,))
    for words in (("stop", ID), ("stop", ID, "--wait")):
        result = await commands(task, *words)
        said = "train has ended already (succeeded): nothing to sign.\n"
        assert (result.exit_code, result.stdout) == (0, said)
        told = held((await commands(task, *words, "--json")).stdout)
        assert (told["action"], told["changed"], told["task_id"]) == ("stop", False, ID)
    assert served.port.asked == []


async def test_several_tasks_are_stopped_at_once(served: Served, commands: Commands) -> None:
    """All are looked up first, so a name that is none signs nothing; each is stopped once, and with
    --json each has a document of the shape that one alone has."""
    view = served.port.seen
    one = view.tasks[0]
    spec = attrs.evolve(one.spec, name="other")
    other = attrs.evolve(one, task_id=TaskId(b"t" * 16), spec=spec)
    served.port.seen = attrs.evolve(view, tasks=(one, other))
    missing = await commands(task, "stop", "train", "nothing")
    assert isinstance(missing.exception, NotFound)
    assert served.port.asked == []
    done = await commands(task, "stop", "train", "other", ID)
    assert done.stdout == "train is stopping.\nother is stopping.\n"
    targets = [ask.signed.request.target for ask in served.port.asked]  # type: ignore[union-attr]
    assert targets == [ID, other.task_id.hex()]
    alone = held((await commands(task, "stop", "train", "--json")).stdout)
    lines = (await commands(task, "stop", "train", "other", "--json")).stdout.splitlines()
    assert [held(line)["task_id"] for line in lines] == targets
    assert all(held(line).keys() == alone.keys() for line in lines)
    dry = await commands(task, "stop", "train", "other", "--dry-run", signs=False)
    assert (dry.exit_code, "name one TASK" in dry.stderr) == (2, True)


async def test_what_was_signed_is_said_where_the_next_is_refused(
    served: Served, commands: Commands
) -> None:
    """Of two tasks the second may not be stopped."""
    view = served.port.seen
    one = view.tasks[0]
    spec = attrs.evolve(one.spec, name="other")
    other = attrs.evolve(one, task_id=TaskId(b"t" * 16), spec=spec)
    served.port.seen = attrs.evolve(view, tasks=(one, other))
    ask = served.port.ask

    async def refuse(request: Any, deadline_ms: int) -> Any:
        if request.signed.request.target == other.task_id.hex():
            raise NOT_YOURS
        return await ask(request, deadline_ms)

    served.port.ask = refuse  # type: ignore[method-assign]
    done = await commands(task, "stop", "train", "other")
    assert isinstance(done.exception, NotAllowed)
    assert done.stdout == "train is stopping.\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("committee", "4"), "'4' is not one of 3, 5, 7"),
        (("eject-dead", "2d"), "'2d' is not one of never, 1h, 6h, 1d, 7d"),
        (("comittee", "3"), "is not one of"),
    ],
)
async def test_a_setting_that_is_none_is_wrong_usage(
    served: Served, commands: Commands, words: tuple[str, str], why: str
) -> None:
    """Told with the values that there are, before a passphrase is asked for."""
    done = await commands(set_setting, *words, signs=False)
    assert done.exit_code == 2
    assert why in done.stderr
    assert served.port.asked == []


# --- logs ---------------------------------------------------------------------------------------


async def test_logs_are_whole_lines_under_a_grant_for_the_task(
    served: Served, commands: Commands
) -> None:
    """Lines that arrive in parts are joined, and stderr stays stderr."""
    served.port.logs.chunks = [
        LogChunk(1, 5, b"on"),
        LogChunk(2, 6, b"oops\n"),
        LogChunk(1, 7, b"e\ntwo"),
    ]
    result = await commands(task, "logs", "train.0", "--tail", "5", "--since", "10m")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "one\ntwo\n", "oops\n")
    allocation, options, grant = served.port.logs.opened[0]
    assert (str(allocation), options.tail_lines, options.since_ms > 0) == (f"{ID}.0", 5, True)
    assert grant.grant.task == ID
    assert typed_data.recover_signers(POOL, grant).signer == Address(NODE_ID)
    result = await commands(task, "logs", ID[:8], "--json")
    assert [held(line)["text"] for line in result.stdout.splitlines()] == [
        "oops",
        "one",
        "two",
    ]


@pytest.mark.parametrize("size", [1_000_000, 3_000_001])
async def test_a_long_line_stays_one_line(served: Served, commands: Commands, size: int) -> None:
    """It comes in parts of 16 KiB that cut characters in two, and leaves as one line; in JSON what
    is longer than a program may be asked to keep comes in parts that say so."""
    line = ("\N{EURO SIGN}" * size).encode()[: size // 3 * 3]
    parts = [line[at : at + 16_384] for at in range(0, len(line), 16_384)]
    served.port.logs.chunks = [*(LogChunk(1, 5, part) for part in parts), LogChunk(1, 6, b"\nz\n")]
    result = await commands(task, "logs", "train.0")
    assert result.stdout_bytes == line + b"\nz\n"
    told = [held(t) for t in (await commands(task, "logs", ID, "--json")).stdout.splitlines()]
    assert "".join(one["text"] for one in told) == line.decode() + "z"
    assert [one.get("partial", False) for one in told] == [True] * (len(told) - 2) + [False, False]
    assert len(told) == 2 + size // 1_048_576


async def test_what_a_task_says_of_itself_is_a_table(commands: Commands) -> None:
    """A line for each metric of each copy, and a word on lines that were dropped."""
    result = await commands(task, "metrics", "train")
    assert "loss" in result.stdout
    assert "0.25" in result.stdout
    assert "3 lines were dropped" in result.stderr
    found = held((await commands(task, "metrics", "train", "--json")).stdout)
    assert found[0]["metrics"][0]["name"] == "loss"


@pytest.mark.parametrize("name", ["train", "train.0"])
async def test_logs_of_what_never_started_say_why(
    served: Served, commands: Commands, name: str
) -> None:
    """The reason that keeps it from its start, and how to wait for it; nothing is signed or
    opened."""
    view = served.port.seen
    one = view.tasks[0]
    waits = attrs.evolve(
        one.allocations[0],
        state=AllocationState.PENDING,
        node_id=None,
        reason="no node has 3 free GPUs",
    )
    pending = attrs.evolve(one, state="pending", allocations=(waits,))
    served.port.seen = attrs.evolve(view, tasks=(pending,))
    error = (await commands(task, "logs", name)).exception
    assert isinstance(error, NotFound)
    assert "yet: no node has 3 free GPUs." in error.message
    assert f"p2pool task logs -f {ID}" in error.hint
    pulls = attrs.evolve(waits, state=AllocationState.PULLING, node_id=NODE_ID, reason="slow disk")
    fetching = attrs.evolve(pending, allocations=(pulls,))
    served.port.seen = attrs.evolve(view, tasks=(fetching,))
    error = (await commands(task, "logs", name)).exception
    assert isinstance(error, NotFound)
    assert "yet: slow disk." in error.message
    assert served.port.logs.opened == []


async def test_logs_of_what_failed_before_it_wrote_say_why(
    served: Served, commands: Commands
) -> None:
    """Its node has no container of it; the reason that the log kept is told beside that."""
    view = served.port.seen
    one = view.tasks[0]
    why = "no such program: trian"
    failed = attrs.evolve(one.allocations[0], state=AllocationState.FAILED, reason=why)
    ended = attrs.evolve(one, state="failed", allocations=(failed,))
    served.port.seen = attrs.evolve(view, tasks=(ended,))
    served.port.logs.refuse = NotFound("This attempt has no container.")
    error = (await commands(task, "logs", "train")).exception
    assert isinstance(error, NotFound)
    assert error.message == f"This attempt has no container. train.0 is failed: {why}."


async def test_logs_that_may_not_be_read_say_so(served: Served, commands: Commands) -> None:
    """The refusal of the node that has them, and copies that are not there."""
    served.port.logs.refuse = NOT_YOURS
    assert isinstance((await commands(task, "logs", "train")).exception, NotAllowed)
    assert isinstance((await commands(task, "logs", "train.7")).exception, NotFound)


# --- looking ------------------------------------------------------------------------------------


async def test_lists_are_tables_for_people_and_json_for_programs(
    served: Served, commands: Commands
) -> None:
    """Nothing is cut off where no terminal limits it."""
    tasks = (await commands(task, "ls")).stdout
    assert "train" in tasks
    assert "1/1" in tasks
    nodes = (await commands(node, "ls")).stdout
    assert "leader" in nodes
    assert "dead" in nodes
    assert len(held((await commands(node, "ls", "--json")).stdout)) == 2
    assert held((await commands(task, "ls", "--json")).stdout)[0]["task_id"] == ID
    shown = (await commands(task, "show", "train")).stdout
    assert "echo hi" in shown
    assert "GPU-1" in shown
    one = (await commands(node, "show", NODE_ID.hex()[:8])).stdout
    assert "h100" in one
    assert f"{ID}.0" in one
    other = held((await commands(node, "show", "0x" + OTHER_NODE.hex(), "--json")).stdout)
    assert other["node"]["hardware"] is None
    served.port.seen = attrs.evolve(served.port.seen, tasks=())
    empty = await commands(task, "ls")
    assert (empty.stdout, empty.stderr) == ("", "No task runs.\n")


@pytest.mark.parametrize("text", ["", "a/b", "/", "../nodes"])
@pytest.mark.parametrize("verb", ["show", "logs", "stop", "metrics"])
async def test_a_text_that_names_no_task_asks_no_other_route(
    commands: Commands, verb: str, text: str
) -> None:
    """It is a task that is not there, not an agent that is none."""
    for words in ([text], [f"{text}.0"] if verb == "logs" else [text]):
        error = (await commands(task, verb, *words)).exception
        assert isinstance(error, NotFound)
        assert f"There is no task {text!r}." in error.message


async def test_why_a_copy_waits_is_shown_wherever_it_is(served: Served, commands: Commands) -> None:
    """In the list, alone, while a command waits for it, and where that gives up."""
    view = served.port.seen
    (of,) = view.tasks
    why = "2 nodes: 4 CPUs are asked for, and 1 is free"
    copy = attrs.evolve(of.allocations[0], state=S.PENDING, node_id=None, reason=why)
    waiting = attrs.evolve(of, state="pending", allocations=(copy,))
    served.port.seen = attrs.evolve(view, tasks=(waiting,))
    assert why in (await commands(task, "ls")).stdout
    assert why in (await commands(task, "show", "train")).stdout
    waited = await commands(task, "run", "--image", "x", "--wait", "--timeout", "1s")
    assert isinstance(waited.exception, Unavailable)
    assert why in waited.exception.message
    assert why in waited.stderr


async def test_what_is_not_known_is_shown_as_not_known(served: Served, commands: Commands) -> None:
    """A copy of a node that nobody hears, with the age of its last word; a member that was never
    heard; and everything, where no leader is known."""
    view = served.port.seen
    (of,) = view.tasks
    now_ms = time.time_ns() // 1_000_000
    copy = attrs.evolve(of.allocations[0], known=False, heard_ms=now_ms - 40_000)
    nodes = tuple(attrs.evolve(n, known=n.node_id == NODE_ID) for n in view.nodes)
    old = attrs.evolve(of, allocations=(copy,))
    served.port.seen = attrs.evolve(view, tasks=(old,), nodes=nodes, roster_age_ms=900_000)
    assert "0/1, 1 unknown" in (await commands(task, "ls")).stdout
    shown = (await commands(task, "show", "train")).stdout
    assert re.search(r"unknown \(running, 4\ds ago\)", shown)
    assert "unknown (running" in (await commands(node, "show", NODE_ID.hex()[:8])).stdout
    (told,) = held((await commands(task, "ls", "--json")).stdout)
    assert [c["known"] for c in told["allocations"]] == [False]
    waited = await commands(task, "run", "--image", "x", "--wait", "--timeout", "1s")
    assert isinstance(waited.exception, Unavailable)
    assert "unknown" in (await commands(node, "ls")).stdout
    assert "unknown" in (await commands(node, "show", "0x" + OTHER_NODE.hex())).stdout
    pool_shown = (await commands(pool, "show")).stdout
    assert "1 healthy, 1 unknown" in pool_shown
    assert "active, as the chain said 900 s ago" in pool_shown
    assert (await commands(task, "ls")).stderr == ""
    since_ms = view.as_of_ms - 120_000
    served.port.seen = attrs.evolve(view, leader=None, leader_since_ms=since_ms)
    for words in ((task, "ls"), (task, "show", "train"), (node, "ls"), (pool, "show")):
        said = (await commands(*words)).stderr
        assert "no leader for 2m" in said, words


async def test_the_pool_and_the_agent_describe_themselves(
    served: Served, commands: Commands
) -> None:
    """`agent status` tells by its exit code whether the agent takes part."""
    assert "1 of 1 free" in (await commands(pool, "show")).stdout
    assert held((await commands(pool, "show", "--json")).stdout)["name"] == "demo"
    result = await commands(agent, "status")
    assert (result.exit_code, "block 100" in result.stdout) == (0, True)
    served.port.seen = attrs.evolve(served.port.seen, leader=None)
    result = await commands(agent, "status")
    assert (result.exit_code, "No leader is known." in result.stdout) == (1, True)


async def test_a_dry_invite_shows_what_would_be_signed(served: Served, commands: Commands) -> None:
    """As other dry runs: alone, or in a document; the node as the pool writes it."""
    words = ("invite", OTHER_NODE.hex().upper(), "--dry-run")
    alone = json.loads((await commands(pool, *words, signs=False)).stdout)
    told = held((await commands(pool, *words, "--json", signs=False)).stdout)
    assert alone["node_id"] == told["would_sign"]["node_id"] == "0x" + OTHER_NODE.hex()
    assert served.port.asked == []


async def test_only_the_manager_invites(served: Served, commands: Commands) -> None:
    """The invite is the manager's, short-lived, and reaches the agent; another key is refused."""
    words = ("invite", "0x" + OTHER_NODE.hex(), "--expires", "30m")
    error = (await commands(pool, *words)).exception
    assert isinstance(error, Misconfigured)
    roster = served.port.seen.roster
    assert roster is not None
    served.port.seen = attrs.evolve(
        served.port.seen, roster=attrs.evolve(roster, manager=Address(NODE_ID))
    )
    result = await commands(pool, *words)
    assert result.exit_code == 0, result
    (asked,) = served.port.asked
    assert isinstance(asked, InviteOffered)
    assert asked.invite.node_id == OTHER_NODE
    assert invite_signer(asked.invite) == Address(NODE_ID)


def test_numbers_for_people() -> None:
    """Sizes and ages are short, and nobody writes to the terminal through us."""
    assert [size(n) for n in (0, 1536, 2**31)] == ["0 B", "1.5 KiB", "2 GiB"]
    ages = [age(at, now_ms=10**9) for at in (0, 10**9 - 5_000, 10**9 - 7_200_000)]
    assert ages == ["-", "5s", "2h"]
    assert visible("a\x1b[31mb\n") == "a\\x1b[31mb\\x0a"
