"""One attack, from a rest before it to a look after it."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from p2pool.client.discovery import agent_in
from tests.attacks.attacker.names import AT_BOOTSTRAP
from tests.attacks.goals import Run
from tests.attacks.measure import Measured, measured
from tests.attacks.pool import Grounds, Target

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
LEAD_S = 1.0
"""So long an attack runs before it is measured."""


@attrs.frozen
class Times:
    """How long each part takes, in seconds."""

    rest: float
    attack: float
    settle: float
    after: float

    @property
    def brief(self) -> bool:
        """Whether these are the times of a test."""
        return self.attack < 30


BRIEF = Times(rest=2, attack=9, settle=1, after=1)


def whole(seconds: float) -> Times:
    """An attack of so long: as long at rest before it, and as long until the look after it."""
    return Times(rest=seconds, attack=seconds, settle=max(1, seconds - 5), after=5)


async def attacked(grounds: Grounds, times: Times, *names: str, called: str = "") -> Run:
    """Rest, attack, look. `names`: attacks that begin at once; `called`: what they are together."""
    at_bootstrap = set(names) <= set(AT_BOOTSTRAP)
    target = grounds.pool.bootstrap if at_bootstrap else grounds.victim
    counts: Counter[str] = Counter()
    after = Measured()
    async with trio.open_nursery() as nursery:
        child = await _start(names, times.attack + LEAD_S)
        try:
            rest = await measured(grounds, target, times.rest)
            assert child.stdin is not None
            await child.stdin.send_all(_stage(grounds, target).encode())
            nursery.start_soon(_count, child, counts)
            await trio.sleep(LEAD_S)
            during = await measured(grounds, target, times.attack, rest.patience_s)
        except BaseException:
            child.kill()
            raise
    if target.child.alive:
        await trio.sleep(times.settle)
        after = await measured(grounds, target, times.after)
    name = called or ", ".join(names)
    return Run(name, target.name, rest, during, after, counts, times.brief)


def _stage(grounds: Grounds, target: Target) -> str:
    ref = grounds.ref
    told = {
        "target": target.address,
        "pool": [ref.chain_id, ref.contract.hex(), ref.pool_id],
        "absent": grounds.absent,
        "bootstrap": grounds.pool.bootstrap.address,
    }
    if target.agent is not None:
        at = agent_in(target.agent.directory)
        told |= {"api": at.url, "token": at.token}
    return json.dumps(told) + "\n"


async def _start(names: Sequence[str], seconds: float) -> trio.Process:
    """An attacker that waits for its stage: it imports for some seconds before."""
    child: trio.Process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.attacks.attacker", ",".join(names), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    said = b""
    with trio.fail_after(READY_S):
        while not said.endswith(b"\n"):
            said += (part := await child.stdout.receive_some(6))
            assert part, "the attacker did not start"
    return child


async def _count(child: trio.Process, counts: Counter[str]) -> None:
    """Wait for its end, and take what it counted."""
    assert child.stdout is not None
    said = b""
    async for data in child.stdout:
        said += data
    await child.wait()
    counts.update(json.loads(said or b"{}"))
