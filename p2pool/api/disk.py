"""Routes for the owner of the machine: its volumes, and what its container engine can do.

They answer for this machine alone, to who holds the agent's token, and are never forwarded. A
volume is named by a query, as its name has slashes.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from litestar import delete, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery
from litestar.types import ASGIApp

from p2pool.api import diskanswers as answers
from p2pool.api.http.streams import StreamAnswer, Streams
from p2pool.model.ports.agent import AgentPort
from p2pool.model.ports.volumes import Volume


def _port(state: State) -> AgentPort:
    return cast(AgentPort, state.port)


def _volume(seen: Volume) -> answers.Volume:
    return answers.Volume(
        id=seen.id,
        kind=seen.kind.value,
        name=seen.name,
        allocation=None if seen.allocation is None else str(seen.allocation),
        used_bytes=seen.used_bytes,
        quota_bytes=seen.quota_bytes,
        keep_s=seen.keep_s,
        made_at_ms=seen.made_at_ms,
        used_at_ms=seen.used_at_ms,
        ended_at_ms=seen.ended_at_ms,
        in_use=seen.in_use,
    )


@get("/v1/volumes", summary="What tasks keep on this agent's machine, measured")
async def volumes(state: State) -> answers.VolumesAnswer:
    """All volumes of this machine."""
    found = await _port(state).volumes.list()
    return answers.VolumesAnswer(tuple(_volume(one) for one in found))


@delete("/v1/volumes", status_code=200, summary="Delete a volume of this machine: `?id=`")
async def remove(state: State, id: FromQuery[str]) -> answers.Removed:
    """Delete one volume; 409 while a container uses it."""
    await _port(state).volumes.remove(id)
    return answers.Removed(id)


@get(
    "/v1/volumes/export",
    summary="What is in a volume of this machine, as a tar archive: `?id=`",
    responses={200: ResponseSpec(bytes, description="tar", media_type="application/x-tar")},
)
async def export(state: State, id: FromQuery[str]) -> ASGIApp:
    """An archive that breaks off is none: the connection ends before its end."""
    pieces = _pieces(_port(state).volumes.export(id))
    return StreamAnswer(
        cast(Streams, state.streams), pieces, "application/x-tar", ping=None, failed=None
    )


async def _pieces(found: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in found:
        yield piece


@get("/v1/runtime", summary="What runs containers on this machine, and what it cannot do")
async def runtime(state: State) -> answers.Runtime:
    """The container engine's own word; 503 while it does not answer."""
    info = await _port(state).runtime_info()
    return answers.Runtime(
        kind=info.kind.value,
        version=info.version,
        api_version=info.api_version,
        gpu_support=info.gpu_support,
        operating_system=info.operating_system,
        architecture=info.architecture,
        storage_driver=info.storage_driver,
        cgroup_version=info.cgroup_version,
        warnings=info.warnings,
        unsupported=tuple(answers.Lack(one.feature, one.reason) for one in info.unsupported),
    )


ALL = (volumes, remove, export, runtime)
