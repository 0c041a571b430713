"""What an input reaches, and the fewest inputs that together reach all.

Reached are the steps from one line of this program to the next, as the interpreter traces them; so
a corpus can be cut down without the fuzzer.
"""

import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

from tests.fuzz.target import ROOT, Target, run_once

_PROGRAM = f"{ROOT}/p2pool/"
_LIBRARIES = ("/libp2p/", "/multiaddr/", "/eth_abi/", "/h11/")


def reached(one: Target, data: bytes) -> set[Any]:
    """The steps that an input makes a target's decoder take."""
    steps: set[Any] = set()

    def call(frame: types.FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if not (name.startswith(_PROGRAM) or any(part in name for part in _LIBRARIES)):
            return None
        before = frame.f_lineno

        def line(frame: types.FrameType, event: str, argument: object) -> Any:
            nonlocal before
            steps.add((name, before, frame.f_lineno, event == "exception"))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(call)
    try:
        run_once(one, data)
    finally:
        sys.settrace(None)
    return steps


def fewest(spread: Mapping[bytes, Iterable[Any]]) -> list[bytes]:
    """Few inputs that reach all that is reached: for what is reached least often, the shortest."""
    by_step: dict[Any, list[bytes]] = {}
    for data in sorted(spread, key=lambda data: (len(data), data)):
        for step in spread[data]:
            by_step.setdefault(step, []).append(data)
    sets = {data: set(steps) for data, steps in spread.items()}
    kept: list[bytes] = []
    left = set(by_step)
    for step in sorted(by_step, key=lambda step: (len(by_step[step]), str(step))):
        if step in left:
            best = min(by_step[step], key=lambda data: (len(data), data))
            kept.append(best)
            left -= sets[best]
    return kept
