"""What every runtime promises, shown on each of them: the same tests for processes and Docker."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.errors import CannotStart, Conflict, Malformed, NotFound
from p2pool.model.ids import Digest
from p2pool.model.ports.runtime import ContainerRuntime, ContainerState, RuntimeKind
from tests.containers.harness.plans import FOREVER, SCOPE, chunks, lines, plan, run_to_end

DEADLINE_S = 30


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
async def runtime(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[ContainerRuntime]:
    """Each runtime in turn, empty before and after."""
    made: ContainerRuntime
    if request.param == "docker":
        from p2pool.drivers.containers.docker.runtime import DockerRuntime

        engine = request.getfixturevalue("engine")
        made = DockerRuntime(SCOPE, tmp_path, base_url=engine.url)
    else:
        made = ProcessRuntime(SCOPE, tmp_path)
    assert await made.list() == ()
    yield made
    for status in await made.list():
        await made.stop(status.allocation, status.attempt, 0)
        await made.remove(status.allocation, status.attempt)


async def test_it_says_what_it_is(runtime: ContainerRuntime) -> None:
    """A probe answers with kind and version."""
    info = await runtime.probe()
    assert info.kind is runtime.kind
    assert info.version


@pytest.mark.parametrize("code", [0, 3, 77])
async def test_exit_codes_are_told(runtime: ContainerRuntime, code: int) -> None:
    """As the command left them, with when it began and ended."""
    status = await run_to_end(runtime, plan(f"exit {code}"))
    assert (status.state, status.exit_code) == (ContainerState.EXITED, code)
    assert 0 < status.started_at_ms <= status.finished_at_ms


async def test_a_signal_is_128_and_its_number(runtime: ContainerRuntime) -> None:
    """As shells tell it. (The first process of a container cannot be killed from inside.)"""
    status = await run_to_end(runtime, plan("sh -c 'kill -KILL $$'; exit $?"))
    assert status.exit_code == 137


async def test_a_start_is_done_once(runtime: ContainerRuntime) -> None:
    """Twice at once or again later: one container, also after its end."""
    wanted = plan(FOREVER)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(runtime.start, wanted)
    (first,) = await runtime.list()
    assert (await runtime.start(wanted)).started_at_ms == first.started_at_ms
    await runtime.stop(wanted.allocation, wanted.attempt, 0)
    assert (await runtime.start(wanted)).ended


async def test_another_specification_is_a_conflict(runtime: ContainerRuntime) -> None:
    """An attempt is of one specification."""
    await runtime.start(plan(FOREVER))
    with pytest.raises(Conflict):
        await runtime.start(attrs.evolve(plan(FOREVER), spec_hash=Digest(b"\x55" * 32)))


async def test_lines_come_in_order_with_their_stream(runtime: ContainerRuntime) -> None:
    """All, the last ones, and those that come while one reads."""
    wanted = plan("echo one; echo two; echo bad >&2; sleep 1; echo three")
    await runtime.start(wanted)
    followed = await lines(runtime, wanted, follow=True)
    assert sorted(followed) == ["bad", "one", "three", "two"]
    assert [line for line in followed if line != "bad"] == ["one", "two", "three"]
    assert await lines(runtime, wanted, tail_lines=1) == ["three"]
    streams = {c.data: int(c.stream) for c in await chunks(runtime, wanted)}
    assert streams[b"bad\n"] == 2
    assert streams[b"one\n"] == 1


async def test_stopping_asks_before_it_kills(runtime: ContainerRuntime) -> None:
    """A command that listens ends by itself; one that does not ends all the same."""
    kind = plan("trap 'echo bye; exit 5' TERM; echo up; " + FOREVER)
    deaf = plan("trap '' TERM; echo up; " + FOREVER, replica=1)
    for wanted in (kind, deaf):
        await runtime.start(wanted)
        async for _ in runtime.logs(wanted.allocation, 1, follow=True):
            break
    with trio.fail_after(DEADLINE_S):
        await runtime.stop(kind.allocation, 1, 20_000)
        await runtime.stop(deaf.allocation, 1, 200)
    ended = {s.allocation.replica: s.exit_code for s in await runtime.list()}
    assert ended == {0: 5, 1: 137}
    await runtime.stop(kind.allocation, 1, 0)
    await runtime.stop(plan("", replica=9).allocation, 1, 0)


async def test_a_restart_keeps_the_lines(runtime: ContainerRuntime) -> None:
    """An ended one begins anew; one that runs is left alone; one that is not there is not found."""
    wanted = plan("echo once; exit 1")
    await run_to_end(runtime, wanted)
    await runtime.restart(wanted.allocation, 1)
    async for _ in runtime.logs(wanted.allocation, 1, follow=True):
        pass
    assert await lines(runtime, wanted) == ["once", "once"]
    with pytest.raises(NotFound):
        await runtime.restart(plan("", replica=4).allocation, 1)


async def test_only_what_ended_is_removed(runtime: ContainerRuntime) -> None:
    """A running one is a conflict, an unknown one no matter."""
    wanted = plan(FOREVER)
    await runtime.start(wanted)
    with pytest.raises(Conflict):
        await runtime.remove(wanted.allocation, 1)
    await runtime.stop(wanted.allocation, 1, 0)
    await runtime.remove(wanted.allocation, 1)
    await runtime.remove(wanted.allocation, 1)
    assert await runtime.list() == ()
    with pytest.raises(NotFound):
        await lines(runtime, wanted)


async def test_what_cannot_start_leaves_nothing(runtime: ContainerRuntime) -> None:
    """A command that is not there is the submitter's fault."""
    wrong = attrs.evolve(plan(""), spec=attrs.evolve(plan("").spec, command=("/no/such/thing",)))
    alone = attrs.evolve(wrong, spec=attrs.evolve(wrong.spec, init=False))
    with pytest.raises(CannotStart):
        await runtime.start(alone)
    assert await runtime.list() == ()


async def test_an_init_says_by_its_exit_code_that_there_is_no_command(
    runtime: ContainerRuntime,
) -> None:
    """It has started already; its line in the log names the command. A process has no init."""
    wrong = attrs.evolve(plan(""), spec=attrs.evolve(plan("").spec, command=("/no/such/thing",)))
    if runtime.kind is RuntimeKind.PROCESS:
        with pytest.raises(CannotStart):
            await runtime.start(wrong)
        return
    assert (await run_to_end(runtime, wrong)).exit_code == 127
    assert "/no/such/thing" in "".join(await lines(runtime, wrong))


async def test_the_environment_is_the_specifications(runtime: ContainerRuntime) -> None:
    """And the reserved names, which win; nothing of the agent's own."""
    wanted = plan(
        "echo $GIVEN $P2POOL_REPLICA $PWD_OF_AGENT",
        environment=(("GIVEN", "yes"), ("P2POOL_REPLICA", "9")),
    )
    await run_to_end(runtime, wanted)
    assert await lines(runtime, wanted) == ["yes 0"]


async def test_a_hint_comes_for_what_happens(runtime: ContainerRuntime) -> None:
    """Whoever watches hears of a start or an end, and looks again."""
    wanted = plan("exit 0")
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:

            async def hear() -> None:
                async for changed in runtime.watch():
                    assert changed.allocation == wanted.allocation
                    return

            nursery.start_soon(hear)
            await trio.sleep(0.3)
            await runtime.start(wanted)


async def test_an_ended_copy_has_its_file_read(runtime: ContainerRuntime) -> None:
    """Whole and bounded; of what is no file of its own, or too long, it is said which it is."""
    script = "mkdir -p out && printf 12345678 > out/file && ln -s out/file link"
    wanted = plan(script)
    await run_to_end(runtime, wanted)
    at = (wanted.allocation, wanted.attempt)
    assert await runtime.read_file(*at, "/out/file", 8) == b"12345678"
    with pytest.raises(Malformed, match="longer than 7 bytes"):
        await runtime.read_file(*at, "/out/file", 7)
    for path in ("/out", "/link"):
        with pytest.raises(Malformed, match="no regular file"):
            await runtime.read_file(*at, path, 8)
    with pytest.raises(NotFound, match="left no file /none"):
        await runtime.read_file(*at, "/none", 8)
    with pytest.raises(NotFound):
        await runtime.read_file(plan("", replica=4).allocation, 1, "/out/file", 8)
