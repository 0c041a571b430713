"""Agents that play a script: a flow is carried out without a socket; pauses move the clock."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from p2pool.client.library import agents as named
from p2pool.client.library.questions import Questions
from p2pool.client.library.signers import raw_of
from p2pool.client.library.steps import (
    Ask,
    Clock,
    Close,
    Flow,
    Give,
    Open,
    Pause,
    Read,
    Sign,
    Step,
)
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import P2poolError, Unavailable
from p2pool.wire import eip712
from tests.wire.samples import ACCOUNT, POOL

AWAY = Unavailable("No agent answers.")
Said = tuple[int, dict[str, Any]] | P2poolError
Line = dict[str, Any] | bytes


def pool_answer(**other: Any) -> dict[str, Any]:
    """What an agent of the sample pool says of it."""
    plain: dict[str, Any] = {
        "chain_id": POOL.chain_id,
        "contract": address_text(POOL.contract),
        "pool_id": POOL.pool_id,
        **dict.fromkeys(("name", "status"), "x"),
        **dict.fromkeys(("creator", "manager", "leader")),
        **dict.fromkeys(("members", "nodes_healthy", "nodes_eligible", "gpus", "gpus_free"), 0),
        "tasks": {},
        "settings": {},
    }
    return {"meta": {"epoch": 1, "applied_index": 0}, "pool": plain | other}


def copy_of(**other: Any) -> dict[str, Any]:
    """A copy that runs."""
    return {
        "id": "t.0",
        "task_id": "t",
        "task_name": "n",
        "replica": 0,
        "attempt": 1,
        "state": "running",
        "node_id": "0x1",
        "gpus": [],
        "reason": "",
        "exit_code": None,
        "oom_killed": False,
        "image_digest": "",
        "changed_at_ms": 1,
        "health": "none",
        **other,
    }


def task_answer(*copies: dict[str, Any], index: int = 1, **other: Any) -> dict[str, Any]:
    """A task that runs, with these copies."""
    task = {
        "task_id": "t",
        "name": "n",
        "image": "i",
        "signer": "0x1",
        "state": "running",
        "stop_requested": False,
        "submitted_at_ms": 1,
        "spec": {},
        "refusals": [],
        "allocations": list(copies),
        **other,
    }
    return {"meta": {"epoch": 1, "applied_index": index}, "task": task}


@attrs.define
class Stage:
    """Agents by number: `answer` says what one gives to a request; `stream` what it streams, line
    by line, until its end or the error it raises. `told`: every step that was carried out."""

    answer: Callable[[Ask], Said] = lambda ask: (404, {"code": "not-found", "detail": "none"})
    stream: Callable[[Open], Iterator[Line]] = lambda opened: iter(())
    pools: dict[int, Said] = attrs.field(factory=dict)
    now: float = 0.0
    told: list[Step] = attrs.field(factory=list)
    _lines: Iterator[Line] | None = None

    def run(self, flow: Flow[Any], most: int = 100) -> tuple[list[Any], Any]:
        """What the flow gives, `most` at most, and its answer."""
        given: list[Any] = []
        answer: Any = None
        error: P2poolError | None = None
        try:
            while len(given) < most:
                step = flow.throw(error) if error else flow.send(answer)
                answer = error = None
                self.told.append(step)
                if isinstance(step, Give):
                    given.append(step.value)
                    continue
                try:
                    answer = self._do(step)
                except P2poolError as failed:
                    error = failed
        except StopIteration as end:
            return given, end.value
        flow.close()
        return given, None

    def _do(self, step: Step) -> Any:
        match step:
            case Ask(path="/v1/pool"):
                return self._said(self.pools.get(step.agent, (200, pool_answer())))
            case Ask():
                return self._said(self.answer(step))
            case Open():
                self._lines = self.stream(step)
            case Read():
                assert self._lines is not None
                line = next(self._lines, None)
                if line is None:
                    return None
                data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
                return data.splitlines(keepends=True)
            case Close():
                self._lines = None
            case Pause():
                self.now += step.seconds
            case Clock():
                return self.now
            case Sign():
                digest = eip712.typed_digest(raw_of(step.typed_data))
                return eip712.sign_digest(ACCOUNT, digest)
        return None

    @staticmethod
    def _said(said: Said) -> tuple[int, dict[str, Any]]:
        if isinstance(said, P2poolError):
            raise said
        return said

    def asked(self) -> list[tuple[int, str]]:
        """Which agent was asked for what, the checks of pools apart."""
        return [
            (one.agent, one.path)
            for one in self.told
            if isinstance(one, Ask | Open) and one.path != "/v1/pool"
        ]


def questions(count: int = 3, *, signs: bool = True, patience_s: float = 15) -> Questions:
    """Of so many agents."""
    return Questions(named.listed([f"agent-{n}" for n in range(count)]), patience_s, signs=signs)
