"""One attack, from a rest before it to a look after it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs
import trio

from p2pool.client.discovery import agent_in
from tests.attacks.goals import Run
from tests.attacks.measure import Measured, measured
from tests.attacks.pool import Grounds, Target

ROOT = Path(__file__).resolve().parents[2]
AT_BOOTSTRAP = ("made-up", "made-up-everywhere", "silent-bootstrap")
READY_S = 60.0
ENDED_S = 20.0


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


BRIEF = Times(rest=4, attack=10, settle=1, after=2)


def whole(seconds: float) -> Times:
    """An attack of so long: as long at rest before it, and as long until the look after it."""
    return Times(rest=seconds, attack=seconds, settle=max(1, seconds - 5), after=5)


async def attacked(grounds: Grounds, name: str, times: Times) -> Run:
    """Rest, attack, look."""
    target = grounds.pool.bootstrap if name in AT_BOOTSTRAP else grounds.victim
    rest = await measured(grounds, target, times.rest)
    counts: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        child = await _start(name, times.attack + 1, _stage(grounds, target))
        try:
            nursery.start_soon(_count, child, counts)
            await trio.sleep(1)
            during = await measured(grounds, target, times.attack)
        except BaseException:
            child.kill()
            raise
    after = Measured()
    if target.child.alive:
        await trio.sleep(times.settle)
        after = await measured(grounds, target, times.after)
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


async def _start(name: str, seconds: float, stage: str) -> trio.Process:
    """An attacker that has begun: it imports for some seconds before."""
    child: trio.Process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.attacks.attacker", name, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with trio.fail_after(READY_S):
        assert (await child.stdout.receive_some(6)) == b"ready\n", "the attacker did not start"
    await child.stdin.send_all(stage.encode())
    return child


async def _count(child: trio.Process, counts: Counter[str]) -> None:
    """Wait for its end, and take what it counted."""
    assert child.stdout is not None
    said = b""
    async for data in child.stdout:
        said += data
    await child.wait()
    counts.update(json.loads(said or b"{}"))
