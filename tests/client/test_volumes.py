"""`p2pool volume` and the routes behind it: of one machine, streamed, honest about a break."""

from pathlib import Path

import pytest

from p2pool.cli.volume import volume
from p2pool.client.agent_client import AgentClient
from p2pool.model.errors import Conflict, NotFound, P2poolError, RuntimeUnavailable
from tests.cli.output.held import held
from tests.client.conftest import Commands, Served

BYTES = [b"tar", b"x" * 300_000, b"end"]


async def test_they_are_listed_removed_and_exported(
    served: Served, commands: Commands, tmp_path: Path
) -> None:
    """Each command does what it says, in text and JSON."""
    served.port.volumes.kept = {"pool/a": BYTES, "pool/b": []}
    served.port.volumes.used = {"pool/b"}
    listed = await commands(volume, "ls")
    assert "pool/a" in listed.stdout
    assert "293" in listed.stdout
    found = held((await commands(volume, "ls", "--json")).stdout)
    assert [(one["id"], one["in_use"]) for one in found] == [("pool/a", False), ("pool/b", True)]
    for words in ((), ("-o", "-")):
        piped = await commands(volume, "export", "pool/a", *words)
        assert piped.stdout_bytes == b"".join(BYTES)
    out = tmp_path / "a.tar"
    result = await commands(volume, "export", "pool/a", "-o", str(out), "--json")
    assert held(result.stdout)["bytes"] == out.stat().st_size == 300_006
    assert (await commands(volume, "rm", "pool/a")).stdout == "pool/a\n"
    assert list(served.port.volumes.kept) == ["pool/b"]
    for words, kind in (
        (("rm", "pool/b"), Conflict),
        (("rm", "pool/none"), NotFound),
        (("export", "pool/none"), NotFound),
    ):
        assert isinstance((await commands(volume, *words)).exception, kind)


@pytest.mark.parametrize("kind", [RuntimeUnavailable, Conflict])
async def test_an_archive_that_is_not_whole_is_none(
    served: Served, commands: Commands, tmp_path: Path, kind: type[P2poolError]
) -> None:
    """Something is left out: the command fails with what it is, and no file looks whole; what is
    piped comes, and then the failure."""
    served.port.volumes.kept = {"pool/a": BYTES}
    served.port.volumes.then = kind("The export is not whole: x/f: file changed.", hint="Stop it.")
    out = tmp_path / "a.tar"
    result = await commands(volume, "export", "pool/a", "-o", str(out))
    assert isinstance(result.exception, kind)
    assert "x/f: file changed. Stop it." in str(result.exception)
    assert list(tmp_path.glob("a.tar*")) == []
    piped = await commands(volume, "export", "pool/a")
    assert piped.stdout_bytes == b"".join(BYTES)
    assert isinstance(piped.exception, kind)


async def test_any_other_reader_meets_a_break(served: Served) -> None:
    """Who reads the archive alone, as curl does, is cut off before its end."""
    import http.client

    import trio

    served.port.volumes.kept = {"pool/a": BYTES}

    def read() -> bytes:
        connection = http.client.HTTPConnection(*served.address, timeout=10)
        token = {"Authorization": f"Bearer {served.token}"}
        connection.request("GET", "/v1/volumes/export?id=pool/a", headers=token)
        try:
            return connection.getresponse().read()
        finally:
            connection.close()

    assert await trio.to_thread.run_sync(read) == b"".join(BYTES)
    served.port.volumes.then = RuntimeUnavailable("The disk failed.")
    with pytest.raises(http.client.IncompleteRead):
        await trio.to_thread.run_sync(read)


async def test_nothing_is_answered_without_the_token(served: Served) -> None:
    """They are the owner's, not the pool's."""
    import trio

    stranger = AgentClient(served.url, "x" * 40)
    for ask in (stranger.volumes, stranger.runtime, lambda: stranger.remove_volume("pool/a")):
        with pytest.raises(Exception, match="token"):
            await trio.to_thread.run_sync(ask)


async def test_what_the_engine_cannot_do_is_told(served: Served) -> None:
    """By name and reason."""
    import trio

    client = AgentClient(served.url, served.token)
    found = await trio.to_thread.run_sync(client.runtime)
    assert found["unsupported"] == [
        {"feature": "disk-quota", "reason": "the storage driver has none"}
    ]
