"""A node whose copies do work, with a runtime that holds their files and no chain."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs

from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.agent.work.journal import PieceJournal
from p2pool.agent.work.reporter import WorkReporter
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.config.schema import WorkConfig
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, PoolRef, TaskId, Token
from p2pool.model.ports.runtime import ContainerRuntime, ContainerState, ContainerStatus
from p2pool.model.tasks.spec import TaskSpec, WorkRequest

COPY = AllocationId(TaskId(b"1" * 16), 0)
NODE = NodeId(b"n" * 20)
POOL = PoolRef(31337, Address(b"\x01" * 20), 7)


def ended(number: int = 1_000, *, exit_code: int = 0) -> ContainerStatus:
    """A copy that ended at a time."""
    return ContainerStatus(
        *(COPY, 1, Token(1, 1, 1), Digest(b"h" * 32), ContainerState.EXITED),
        exit_code=exit_code,
        finished_at_ms=number,
    )


@attrs.define
class Files:
    """A runtime of one file, or of an error in its place."""

    content: bytes | P2poolError = b'{"units": 12}'
    reads: int = 0

    async def read_file(
        self, allocation: AllocationId, attempt: int, path: str, most_bytes: int
    ) -> bytes:
        self.reads += 1
        if isinstance(self.content, P2poolError):
            raise self.content
        return self.content


def reporter(
    directory: Path, files: Files, work: WorkRequest, *, submit: bool = True, key: bool = True
) -> WorkReporter:
    """The work of a node with one copy, of which the journal was not read yet."""
    item = SimpleNamespace(spec=TaskSpec("t", "i", work=work))
    parts = SimpleNamespace(worker=SimpleNamespace(items={(COPY, 1): item}))
    loop = SimpleNamespace(node=SimpleNamespace(parts=parts))
    config: Any = SimpleNamespace(work=WorkConfig(submit=submit, per_hour_max=2), pool_ref=POOL)
    options = AgentOptions(directory, config, new_account(), new_account() if key else None)
    runtime = cast(ContainerRuntime, files)
    return WorkReporter(options, cast(Loop, loop), runtime, PieceJournal.of(directory, NODE))
