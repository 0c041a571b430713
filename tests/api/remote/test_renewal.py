"""A renewed certificate is shown without a restart, a bad one never; TLS stands beside loopback."""

import datetime
import os
import shutil
import socket
import ssl
from pathlib import Path

import pytest
import trio
from cryptography import x509

from p2pool.agent.certificate_check import certificate_checks
from p2pool.api.certificates import fingerprint
from p2pool.api.server import ApiSettings
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import FoundAgent, find_agent
from p2pool.drivers.config.schema import ApiConfig
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.model.machine.checks import Verdict
from tests.api.conftest import Served, serving
from tests.api.http.conftest import DAY, made
from tests.api.remote.certificates import HERE, LONG, installed, new_directory, settings

thread = trio.to_thread.run_sync


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each handshake looks at the files."""
    monkeypatch.setattr(limits, "API_CERTIFICATE_LOOK_MS", 0)


def shown_at(port: int) -> str:
    """The fingerprint of the certificate that whoever connects is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        with context.wrap_socket(raw) as secured:
            data = secured.getpeercert(binary_form=True) or b""
    return fingerprint(ssl.DER_cert_to_PEM_cert(data))


async def shown(port: int) -> str:
    """The same, asked beside the server."""
    return await thread(shown_at, port)


async def warnings(served: Served) -> list[str]:
    return list((await thread(served.client.get, "/v1/agent"))["agent"]["warnings"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def test_tls_stands_beside_plain_loopback(tmp_path: Path) -> None:
    """Both at once: this machine's commands need no certificate, others are shown one."""
    files, port = installed(tmp_path), free_port()
    async with serving(tmp_path, settings(files, tls_bind=f"0.0.0.0:{port}")) as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert not (tmp_path / "api.certificate").exists()
        assert len(await thread(served.client.nodes)) == 2
        found = FoundAgent(f"https://127.0.0.1:{port}", served.token, ca=files[0])
        assert len(await thread(AgentClient.of(found).nodes)) == 2
        plain = FoundAgent(f"http://127.0.0.1:{port}", served.token)
        with pytest.raises(Exception, match=r"no HTTP|broke"):
            await thread(AgentClient.of(plain).nodes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_bind": "127.0.0.1:0"}, "has no certificate"),
        ({"tls_bind": "nowhere", "certificate": Path("c"), "private_key": Path("k")}, "HOST:PORT"),
    ],
)
def test_tls_that_cannot_be_is_told(given: dict[str, object], said: str) -> None:
    """By the key of the configuration."""
    from p2pool.api.listeners import bind_tls

    with pytest.raises(Misconfigured, match=said) as told:
        bind_tls(ApiSettings("127.0.0.1:0", **given))  # type: ignore[arg-type]
    assert "tls" in told.value.hint


async def test_a_renewed_certificate_is_shown_to_the_next_who_comes(tmp_path: Path) -> None:
    """Connections from before go on; this machine's commands, which go by its fingerprint, follow
    it even in the middle."""
    files = installed(tmp_path)
    async with serving(tmp_path, settings(files)) as served:
        (tmp_path / "api.sock").unlink()
        port, before = served.address[1], await shown(served.address[1])
        by_directory = AgentClient.of(find_agent(str(tmp_path), {}))
        assert len(await thread(by_directory.nodes)) == 2
        events = by_directory.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_broken, events)
            await served.port.listening.wait()
            installed(tmp_path)
            after = await shown(port)
            assert after != before
            assert (tmp_path / "api.certificate").read_text().strip() == after
            assert len(await thread(by_directory.nodes)) == 2
            assert not served.port.unlistened.is_set()
            nursery.cancel_scope.cancel()


async def _wait_broken(events: object) -> None:
    await trio.to_thread.run_sync(lambda: next(events, None), abandon_on_cancel=True)  # type: ignore[call-overload]


async def test_a_certificate_that_does_not_fit_its_key_is_not_shown(tmp_path: Path) -> None:
    """The two are replaced one after the other; in between, and for as long as it lasts, the one
    from before is shown, and the status says so."""
    files = installed(tmp_path)
    async with serving(tmp_path, settings(files, tls_bind="127.0.0.1:0")) as served:
        assert await warnings(served) == []
        other = made(new_directory(tmp_path / "other"), HERE, lasts=LONG)
        os.replace(other[0], files[0])
        (told,) = await warnings(served)
        assert "the two do not belong together" in told
        assert "shows its certificate from before, until 20" in told
        os.replace(other[1], files[1])
        assert await warnings(served) == []


@pytest.mark.parametrize("wrong", ["no certificate", "", None])
async def test_a_file_that_is_none_is_not_shown(tmp_path: Path, wrong: str | None) -> None:
    """Nor one that is missing for a while."""
    files = installed(tmp_path)
    async with serving(tmp_path, settings(files)) as served:
        (tmp_path / "api.sock").unlink()
        client = AgentClient.of(find_agent(str(tmp_path), {}))
        before = await shown(served.address[1])
        if wrong is None:
            files[0].unlink()
        else:
            files[0].write_text(wrong)
        assert await shown(served.address[1]) == before
        (told,) = (await thread(client.get, "/v1/agent"))["agent"]["warnings"]
        assert "cannot be used" in told


async def test_one_that_has_ended_is_not_shown(tmp_path: Path) -> None:
    """Its files are good, and clients would refuse it."""
    files = installed(tmp_path)
    async with serving(tmp_path, settings(files, tls_bind="127.0.0.1:0")) as served:
        assert await warnings(served) == []
        installed(tmp_path, -DAY)
        (told,) = await warnings(served)
        assert "has ended already" in told


@pytest.mark.parametrize(("lasts", "said"), [(5 * DAY, "ends on 20"), (-DAY, "ended on 20")])
async def test_the_status_warns_before_the_end(
    tmp_path: Path, lasts: datetime.timedelta, said: str
) -> None:
    """An agent whose certificate is over starts all the same: its own machine needs none."""
    files = installed(tmp_path, lasts)
    async with serving(tmp_path, settings(files, tls_bind="127.0.0.1:0")) as served:
        (told,) = await warnings(served)
        assert said in told
        assert "without a restart" in told


async def test_links_are_followed(tmp_path: Path) -> None:
    """certbot keeps what is in force as links into an archive, and turns them."""
    first, second = (made(new_directory(tmp_path / name), HERE, lasts=LONG) for name in "ab")
    live = new_directory(tmp_path / "live")
    files = live / "certificate.pem", live / "key.pem"
    for link, file in zip(files, first, strict=True):
        link.symlink_to(file)
    async with serving(tmp_path, settings(files)) as served:
        before = await shown(served.address[1])
        for link, file in zip(files, second, strict=True):
            link.with_suffix(".new").symlink_to(file)
            os.replace(link.with_suffix(".new"), link)
        assert await shown(served.address[1]) != before


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """Nobody is there to type it; without us OpenSSL would ask on the agent's terminal."""
    from cryptography.hazmat.primitives import serialization

    files = installed(tmp_path)
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    (told,) = certificate_checks(ApiConfig(tls_certificate=files[0], tls_key=files[1]))
    assert told.verdict is Verdict.FAIL
    assert "encrypted" in told.found


def test_the_check_looks_at_the_certificate(tmp_path: Path) -> None:
    """Before the agent starts: whether it is there, fits, lasts, and has the names."""
    files = made(new_directory(tmp_path / "tls"), x509.DNSName("*.example.org"), HERE, lasts=LONG)

    def verdict(**given: object) -> tuple[Verdict, str]:
        (one,) = certificate_checks(ApiConfig(**given))  # type: ignore[arg-type]
        return one.verdict, one.found

    both = {"tls_certificate": files[0], "tls_key": files[1]}
    assert certificate_checks(ApiConfig()) == []
    assert verdict(**both, hosts=("agent.example.org", "127.0.0.1"))[0] is Verdict.PASS
    assert verdict(**both, hosts=("agent.other.org",))[0] is Verdict.WARN
    assert verdict(tls_bind="0.0.0.0:1")[0] is Verdict.FAIL
    assert verdict(tls_key=files[1])[0] is Verdict.FAIL
    shutil.copy(made(new_directory(tmp_path / "other"), HERE, lasts=LONG)[1], files[1])
    assert "do not belong together" in verdict(**both)[1]
    soon = made(new_directory(tmp_path / "soon"), HERE, lasts=3 * DAY)
    assert verdict(tls_certificate=soon[0], tls_key=soon[1])[0] is Verdict.WARN
