"""Volumes of the machine, for its owner: lists, exports and deletes what tasks keep here.

The routes answer for this machine alone, to the holder of the agent's token, and no agent forwards
them. A query names the volume, because its name has slashes.
"""

from typing import cast

import attrs
from litestar import delete, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from p2pool.api.http import frames
from p2pool.api.http.streams import StreamAnswer, Streams
from p2pool.api.resources.context import port_of
from p2pool.api.resources.pages import page
from p2pool.api.resources.parameters import AfterVolume, Framed, Limit, VolumeId
from p2pool.model import limits
from p2pool.model.ports import volumes as ports

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Volume:
    """A directory that tasks keep data in, on this machine; times are 0 for never."""

    id: str
    kind: str
    name: str
    allocation: str | None
    used_bytes: int
    quota_bytes: int
    keep_s: int
    made_at_ms: int
    used_at_ms: int
    ended_at_ms: int
    in_use: bool


@attrs.frozen
class VolumesAnswer:
    """Answer of `/v1/volumes`, by id: this machine alone, so there is no view and no `meta`.
    `next`: the place behind which the next page begins, null for the last."""

    volumes: tuple[Volume, ...]
    next: str | None


@attrs.frozen
class Removed:
    """The volume is gone."""

    id: str


# --- from a volume to its answer ----------------------------------------------------------------


def _volume(seen: ports.Volume) -> Volume:
    return Volume(
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


# --- routes -------------------------------------------------------------------------------------


@get("/v1/volumes", summary="The volumes of this agent's machine and their sizes")
async def volumes(
    state: State, limit: Limit = limits.API_PAGE_DEFAULT, after: AfterVolume = ""
) -> VolumesAnswer:
    """The volumes of this machine, in pages."""
    listed = await port_of(state).volumes.list()
    found, more = page(listed, lambda one: one.id, limit, after)
    return VolumesAnswer(tuple(_volume(one) for one in found), more)


@delete("/v1/volumes", status_code=200, summary="Delete a volume of this machine: `?id=`")
async def remove(state: State, id: VolumeId) -> Removed:
    """Delete one volume; 409 while a container uses it."""
    await port_of(state).volumes.remove(id)
    return Removed(id)


@get(
    "/v1/volumes/export",
    summary="A volume of this machine as a tar archive: `?id=`; `&framed=true` says how it ended",
    responses={
        200: ResponseSpec(
            bytes, description="tar", media_type="application/x-tar", generate_examples=False
        )
    },
)
async def export(state: State, id: VolumeId, framed: Framed = False) -> ASGIApp:
    """If the export is not whole, the connection breaks off; framed, the answer says why.

    Framed: each piece after its length in 4 bytes, big-endian; after length 0, a JSON object that
    is empty, or has the problem document as `error`.
    """
    streams, pieces = cast(Streams, state.streams), port_of(state).volumes.export(id)
    if framed:
        return StreamAnswer(
            streams, frames.framed(pieces), frames.FRAMES, ping=None, failed=frames.failed
        )
    return StreamAnswer(streams, pieces, "application/x-tar", ping=None, failed=None)
