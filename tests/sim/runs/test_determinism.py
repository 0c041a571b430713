"""A seed and a commit are a run, whatever else is different: the whole trace is compared."""

import hashlib
import os
import subprocess
import sys

from p2pool.model.messages.registry import Message
from tests.sim.faults import scenario
from tests.sim.faults.scenario import Shape, Story, begin, tell
from tests.sim.world.machine import Machine

SEED = 4


def trace(seed: int) -> str:
    """A digest of every message that any node sends, with when and to whom."""
    digest = hashlib.sha256()

    def begun(seed: int, shape: Shape) -> Story:
        story = begin(seed, shape)

        def told(m: Machine, to: Machine | None, message: Message) -> None:
            line = (story.world.now_ms, m.number, to.number if to else None, repr(message))
            digest.update(repr(line).encode())

        story.world.on_send.append(told)
        return story

    scenario.begin = begun
    try:
        outcome = tell(seed)
    finally:
        scenario.begin = begin
    return f"{digest.hexdigest()} {outcome}"


def test_a_seed_is_a_run_whatever_the_hash_seed() -> None:
    """Two processes whose sets and dictionaries hash differently tell the same story."""
    program = f"from tests.sim.runs.test_determinism import trace; print(trace({SEED}))"
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 64
