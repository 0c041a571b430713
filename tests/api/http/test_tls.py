"""With a certificate the API speaks TLS, and clients check whom they speak to."""

from pathlib import Path

import pytest
import trio

from p2pool.api.certificates import fingerprint
from p2pool.api.listeners import ApiSettings
from p2pool.api.server import serve_api
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import find_agent
from p2pool.model.errors import Misconfigured
from tests.api.conftest import serving
from tests.api.fakes import FakePort

TOKEN = "t" * 43
thread = trio.to_thread.run_sync


async def test_any_address_may_be_listened_on_with_tls(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that trusts the certificate is served, one that does not is told, and garbage
    instead of a handshake hurts nobody."""
    settings = ApiSettings("0.0.0.0:0", certificate=certificate[0], private_key=certificate[1])
    async with trio.open_nursery() as nursery:
        url = await nursery.start(
            lambda task_status: serve_api(
                FakePort(), settings, tmp_path, TOKEN, task_status=task_status
            )
        )
        assert url.startswith("https://127.0.0.1:")
        client = AgentClient(url, TOKEN, timeout_s=20)
        with pytest.raises(Misconfigured, match="certificate"):
            await thread(client.nodes)
        number = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", number) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            with trio.fail_after(10):
                while await stream.receive_some():
                    pass
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert len(await thread(client.nodes)) == 2
        nursery.cancel_scope.cancel()


def test_a_certificate_that_is_none_is_told_at_once(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Before anything listens."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    settings = ApiSettings("127.0.0.1:0", certificate=wrong, private_key=certificate[1])
    with pytest.raises(Misconfigured, match="cannot use its certificate"):
        trio.run(lambda: serve_api(FakePort(), settings, tmp_path, TOKEN))


async def test_who_goes_by_the_directory_needs_no_name_of_the_certificate(
    elsewhere: tuple[Path, Path], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """The directory says which certificate it is: another one is refused, before the token is
    sent. Who goes by the URL of that directory is served too; the file goes with the API."""
    settings = ApiSettings("127.0.0.1:0", certificate=elsewhere[0], private_key=elsewhere[1])
    async with serving(tmp_path, settings) as served:
        (tmp_path / "api.sock").unlink()  # Commands would go by it, without TLS.
        by_directory = find_agent(str(tmp_path), {})
        assert len(await thread(AgentClient.of(by_directory).nodes)) == 2
        by_url = find_agent(served.url, {"P2POOL_DATA_DIR": str(tmp_path)})
        assert len(await thread(AgentClient.of(by_url).nodes)) == 2
        with pytest.raises(Misconfigured, match="--agent DIR"):
            await thread(served.client.nodes)
        shown = tmp_path / "api.certificate"
        assert shown.stat().st_mode & 0o077 == 0
        shown.write_text(fingerprint(certificate[0].read_text()))
        with pytest.raises(Misconfigured, match="another certificate"):
            await thread(AgentClient.of(find_agent(str(tmp_path), {})).nodes)
    assert not shown.exists()


async def test_an_api_that_is_bound_by_a_name_answers_this_machine(tmp_path: Path) -> None:
    """Its URL has the address that the name stands for, and so has the Host header."""
    async with serving(tmp_path, ApiSettings("127.2:0")) as served:
        assert len(await thread(served.client.nodes)) == 2
