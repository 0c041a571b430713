"""A machine waits outside while it does not qualify, or while nobody knows what would."""

from typing import Any

import pytest
import trio
import trio.testing

from p2pool.agent.join import qualification
from p2pool.drivers.checks.onchain import REQUIREMENTS
from p2pool.model import limits
from p2pool.model.machine.checks import Check, Group, Verdict

GOOD = Check(Group.HARDWARE, "disk", Verdict.PASS, "400 GiB")
BAD = Check(Group.HARDWARE, "disk", Verdict.FAIL, "1 GiB")
UNKNOWN = Check(
    Group.HARDWARE, REQUIREMENTS, Verdict.FAIL, "unknown: no endpoint answers.", todo="Look there."
)


class FakeRuntime:
    """Just enough of a runtime: whose it is."""

    scope: Any = type("Scope", (), {"node_id": b"n" * 20})()


class FakeOptions:
    """Options that nothing here reads."""

    config: Any = None
    directory: Any = None


async def waited(
    monkeypatch: pytest.MonkeyPatch, rounds: list[list[Check]]
) -> tuple[float, list[str]]:
    """How long it took until the machine qualified, and what was said meanwhile."""
    left, said, begun_s = list(rounds), list[str](), trio.current_time()

    async def checks(*_: object) -> list[Check]:
        await trio.lowlevel.checkpoint()
        return left.pop(0)

    monkeypatch.setattr(qualification, "run_checks", checks)
    options, runtime = FakeOptions(), FakeRuntime()
    await qualification.wait_qualified(options, runtime, said.append)  # type: ignore[arg-type]
    assert left == []
    return trio.current_time() - begun_s, said


async def test_unknown_requirements_are_not_met(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The owner hears why, and the chain is asked again soon: the machine is not at fault."""
    took_s, said = await waited(monkeypatch, [[GOOD, UNKNOWN], [GOOD, UNKNOWN], [GOOD]])
    assert took_s == pytest.approx(2 * limits.REQUIREMENTS_RETRY_MS / 1000)
    assert said == ["The pool's requirements are unknown: no endpoint answers. Look there."] * 2


async def test_a_machine_that_lacks_something_is_told_where_to_look(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Also where something is unknown beside it."""
    took_s, said = await waited(monkeypatch, [[BAD, UNKNOWN], [GOOD]])
    assert took_s == pytest.approx(limits.CHECK_RETRY_MS / 1000)
    assert "disk, requirements" in said[0]
    assert "p2pool agent check" in said[0]
