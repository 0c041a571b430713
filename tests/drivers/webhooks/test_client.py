"""One attempt goes where it may go, ends in time, and says what became of it."""

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509

from p2pool.drivers.webhooks.client import Outcome, WebhookClient
from p2pool.drivers.webhooks.delivery import send_test
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.model import limits
from tests.api.http.conftest import made
from tests.drivers.webhooks.stand_in import StandIn, receiving, webhook

HEADERS = (("webhook-id", "evt_1"),)


@pytest.fixture
async def plain() -> AsyncIterator[StandIn]:
    """A receiver without TLS."""
    async with receiving() as stand_in:
        yield stand_in


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1, by nobody whom the machine trusts."""
    return made(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def client_of(directory: Path, url: str, **more: object) -> WebhookClient:
    """A client of a receiver."""
    return WebhookClient(Receiver.of(webhook(directory, url, **more)))


async def post(directory: Path, url: str, **more: object) -> Outcome:
    """One attempt over a connection of its own."""
    client = client_of(directory, url, **more)
    try:
        return await client.post(HEADERS, b"{}")
    finally:
        await client.close()


async def test_a_message_arrives_whole(plain: StandIn, tmp_path: Path) -> None:
    """With path, query and headers; a second one goes over the same connection."""
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/a/b?c=d", allow_private=True)
    assert await client.post(HEADERS, b'{"a":1}') == Outcome(204, "")
    assert await client.post(HEADERS, b'{"a":2}') == Outcome(204, "")
    await client.close()
    first, second = plain.got
    assert (first.target, first.body, second.body) == ("/a/b?c=d", b'{"a":1}', b'{"a":2}')
    assert first.headers["webhook-id"] == "evt_1"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["host"] == f"127.0.0.1:{plain.port}"
    assert first.headers["user-agent"].startswith("p2pool/")
    assert plain.connections == 1


async def test_a_connection_that_was_closed_meanwhile_costs_no_attempt(
    plain: StandIn, tmp_path: Path
) -> None:
    """The receiver may close it whenever it likes."""
    plain.closes = True
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    for _ in range(3):
        assert await client.post(HEADERS, b"{}") == Outcome(204, "")
    await client.close()
    assert plain.connections == 3


async def test_an_idle_connection_is_closed(
    plain: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that gets nothing holds no connection of ours for long."""
    monkeypatch.setattr(limits, "WEBHOOK_IDLE_MS", 20)
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    await client.post(HEADERS, b"{}")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.close_when_idle)
            while client._stream is not None:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert await client.post(HEADERS, b"{}") == Outcome(204, "")
    await client.close()
    assert plain.connections == 2


# --- where it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"])
async def test_private_addresses_are_refused(
    certificate: tuple[Path, Path], tmp_path: Path, host: str
) -> None:
    """By number, by name, and in forms that only a resolver understands; nobody is connected."""
    async with receiving(certificate) as stand_in:
        outcome = await post(tmp_path, f"https://{host}:{stand_in.port}/", ca_file=certificate[0])
        assert outcome.status is None
        assert "a private address: set allow_private = true if it is meant" in outcome.why
        assert stand_in.connections == 0


def lead(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have a name lead to these addresses, one list at a time; what is connected to is noted, and
    reaches nobody."""
    left, connected = list(answers), list[str]()

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in found[0] else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    class Nowhere:
        """A socket that notes to whom it should connect."""

        async def connect(self, where: tuple[str, int]) -> None:
            connected.append(where[0])
            raise ConnectionRefusedError(111, "Connection refused")

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(trio.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(trio.socket, "socket", lambda *_: Nowhere())
    return connected


async def test_a_name_that_leads_elsewhere_the_next_moment_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection looks the name up once, and goes to the address that was judged."""
    connected = lead(monkeypatch, ["93.184.215.14"], ["169.254.169.254"])
    client = client_of(tmp_path, "https://rebinds.example/")
    assert (await client.post(HEADERS, b"{}")).why == "no connection: Connection refused"
    assert "169.254.169.254, a private address" in (await client.post(HEADERS, b"{}")).why
    assert connected == ["93.184.215.14"]


async def test_of_several_addresses_only_the_allowed_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private one among them is passed over; and no more are tried than the bound says."""
    public = [f"93.184.215.{n}" for n in range(1, 9)]
    connected = lead(monkeypatch, ["10.0.0.1", *public, "127.0.0.1"])
    await post(tmp_path, "https://many.example/")
    assert connected == public[: limits.WEBHOOK_ADDRESSES_TRIED_MAX]


async def test_addresses_that_this_machine_cannot_speak_to_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name has addresses of version 6, and the machine has none: its kernel makes no such socket.
    The next address is tried, and where there is none the attempt has failed, and no more."""
    connected = lead(monkeypatch, ["93.184.215.1", "93.184.215.2"], ["93.184.215.3"])
    made, left = trio.socket.socket, [True, False, True]

    def without_some(*args: Any) -> Any:
        if left.pop(0):
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(*args)

    monkeypatch.setattr(trio.socket, "socket", without_some)
    client = client_of(tmp_path, "https://both.example/")
    assert (await client.post(HEADERS, b"{}")).why == "no connection: Connection refused"
    outcome = await client.post(HEADERS, b"{}")
    assert outcome.why == "no connection: Address family not supported by protocol"
    assert connected == ["93.184.215.2"]


async def test_without_tls_only_private_addresses_are_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else everybody on the way reads along."""
    connected = lead(monkeypatch, ["93.184.215.14"])
    outcome = await post(tmp_path, "http://public.example/", allow_private=True)
    assert "in public, without TLS: use https://" in outcome.why
    assert not connected


async def test_a_redirection_is_not_followed(plain: StandIn, tmp_path: Path) -> None:
    """It is a failure that says so."""
    plain.answers, plain.extra = [307], [("Location", f"http://127.0.0.1:{plain.port}/other")]
    outcome = await post(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    assert outcome.status == 307
    assert "a redirection, which is not followed" in outcome.why
    assert [one.target for one in plain.got] == ["/"]


async def test_the_certificate_is_checked(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """One of an authority that nobody named is refused before a byte of the message is sent; so is
    one of another name."""
    async with receiving(certificate) as stand_in:
        at = f"https://127.0.0.1:{stand_in.port}/"
        refused = await post(tmp_path, at, allow_private=True)
        assert refused.why.startswith("its certificate cannot be trusted")
        other = f"https://localhost:{stand_in.port}/"
        wrong = await post(tmp_path, other, allow_private=True, ca_file=certificate[0])
        assert "its certificate cannot be trusted: Hostname mismatch" in wrong.why
        assert not stand_in.got
        good = await post(tmp_path, at, allow_private=True, ca_file=certificate[0])
        assert good == Outcome(204, "")


async def test_a_key_in_the_name_of_a_host_is_not_told(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's words about a certificate quote the host, and `agent status` shows them."""
    look_up = trio.socket.getaddrinfo

    async def here(_: str, port: int, **more: Any) -> Any:
        return await look_up("127.0.0.1", port, **more)

    monkeypatch.setattr(trio.socket, "getaddrinfo", here)
    async with receiving(certificate) as stand_in:
        at = f"https://k3y0f4cust0mer5ecret.hooks.example:{stand_in.port}/"
        wrong = await post(tmp_path, at, allow_private=True, ca_file=certificate[0])
    assert "its certificate cannot be trusted: Hostname mismatch" in wrong.why
    assert "k3y0f4cust0mer5ecret" not in wrong.why


async def test_what_speaks_no_tls_is_told(plain: StandIn, tmp_path: Path) -> None:
    """In a sentence, not in a library's words."""
    outcome = await post(tmp_path, f"https://127.0.0.1:{plain.port}/", allow_private=True)
    assert outcome.why.startswith("it does not speak TLS as we do")


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (500, 500, "it answered with status 500"),
        (b"SSH-2.0-OpenSSH_9\r\n", None, "its answer is no HTTP"),
        (b"", None, "it closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, None, "its answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, None, "its answer has no end"),
    ],
    ids=["status", "no-http", "closed", "long-head", "endless"],
)
async def test_answers_that_are_none(
    plain: StandIn, tmp_path: Path, answer: int | bytes, status: int | None, why: str
) -> None:
    """Each is a failure with its reason."""
    plain.answers = [answer]
    outcome = await post(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    assert outcome.status == status
    assert why in outcome.why


async def test_of_a_long_answer_its_status_counts(plain: StandIn, tmp_path: Path) -> None:
    """No more of its body is read than a bound, and the next message has a connection of its
    own."""
    plain.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"z" * 50_000]
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    assert await client.post(HEADERS, b"{}") == Outcome(200, "")
    assert await client.post(HEADERS, b"{}") == Outcome(204, "")
    await client.close()
    assert plain.connections == 2


async def test_an_attempt_ends_in_time(
    plain: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes a message and never answers has its deadline, and no connection is left."""
    monkeypatch.setattr(limits, "WEBHOOK_TIMEOUT_MS", 1000)
    plain.answers = [None]
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    assert await client.post(HEADERS, b"{}") == Outcome(None, "no answer within 1 s")
    assert client._stream is None


async def test_when_to_come_back_is_read(plain: StandIn, tmp_path: Path) -> None:
    """In seconds; what is no number is passed over."""
    plain.answers, plain.extra = [429], [("Retry-After", "7")]
    client = client_of(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    assert (await client.post(HEADERS, b"{}")).retry_after_ms == 7000
    plain.answers, plain.extra = [503], [("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]
    assert (await client.post(HEADERS, b"{}")).retry_after_ms == 0
    await client.close()


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    """A port that nobody listens at; a name that nobody knows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = await post(tmp_path, f"http://127.0.0.1:{port}/", allow_private=True)
    assert outcome.why == "no connection: Connection refused"
    unknown = await post(tmp_path, "https://nobody.invalid/")
    assert unknown.why.startswith("its name cannot be looked up")


async def test_a_secret_that_went_bad_is_told(plain: StandIn, tmp_path: Path) -> None:
    """Nothing is sent unsigned."""
    config = webhook(tmp_path, f"http://127.0.0.1:{plain.port}/", allow_private=True)
    receiver = Receiver.of(config)
    _, good = await send_test(receiver)
    assert good == Outcome(204, "")
    config.secret_file.chmod(0o644)
    _, bad = await send_test(receiver)
    assert "Others can read" in bad.why
    assert len(plain.got) == 1
