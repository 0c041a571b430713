"""No key in the URL of an endpoint is told, and an endpoint that cannot work is refused at once."""

import io
import json
import logging
import os
import time
from collections.abc import Iterator

import pytest
import requests
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers import redaction
from p2pool.drivers.agent_log import configure_logs, get_logger
from p2pool.drivers.chain.endpoints.provider import direct
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.checks.onchain import endpoint_checks
from p2pool.drivers.config.reader import read_section_tables
from p2pool.drivers.config.schema import AgentConfig, ChainConfig
from p2pool.drivers.config.validators import rpc_problem
from p2pool.drivers.containers.docker.engine.errors import engine_errors
from p2pool.drivers.redaction import safe_text, shown_url
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import ChainUnavailable, Misconfigured, RuntimeUnavailable
from tests.chain.endpoints import endpoint
from tests.first_run.harness.configuration import config_of

KEY = "a7F3c9D1e5B84206"
SHAPES = {
    "path": "http://127.0.0.1:9/v3/{}",
    "a short path": "http://127.0.0.1:9/{}",
    "query without a path": "http://127.0.0.1:9?apikey={}",
    "query": "http://127.0.0.1:9/rpc?x=1&apikey={}",
    "a bare query": "http://127.0.0.1:9/?{}",
    "a long host with a path": "http://" + "a-long-name." * 15 + "invalid/v3/{}",
    "user": "http://{}@127.0.0.1:9/",
    "password": "http://me:{}@127.0.0.1:9",
    "quoted password": "http://me:%61%40{}@127.0.0.1:9",
    "subdomain": "http://{}.rpc.invalid",
    "subdomain with a port": "http://eth.{}.rpc.invalid:8545/",
    "parameters": "http://127.0.0.1:9/rpc;{}",
    "encoded path": "http://127.0.0.1:9/a%20b/{}",
}


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Secrets of a test are its own, and so are its handlers."""
    monkeypatch.setattr(redaction, "_registered", BoundedDict(limits.SECRETS_REGISTERED_MAX))
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_key_in_an_endpoints_url_is_told_nowhere(shape: str) -> None:
    """Neither in the error, nor by a check, nor in the log at its lowest level, of any library."""
    url = SHAPES[shape].format(KEY)
    out = io.StringIO()
    configure_logs(
        level="debug", format="json", stream=out, levels={"urllib3": "debug", "web3": "debug"}
    )
    rpc = Rpc.to(1, [url])
    with pytest.raises(ChainUnavailable) as raised:
        await rpc.request("eth_chainId")
    get_logger("p2pool.t").error("happened", url=url, error=str(raised.value), exc_info=True)
    config = config_of(
        chain=ChainConfig(id=1, endpoints=(url,), addresses=config_of().chain.addresses)
    )
    checks = await endpoint_checks(config)
    for text in (str(raised.value), rpc.name(), str(checks), out.getvalue()):
        assert KEY.lower() not in text.lower()
    assert "http" in str(raised.value)


async def test_what_an_endpoint_says_of_its_own_url_is_not_passed_on() -> None:
    """Providers name the project whose key was refused."""
    body = json.dumps(
        {"error": {"code": -32001, "message": f"invalid project {KEY}, see http://x/{KEY}"}}
    )
    async with endpoint(body.encode()) as url:
        with pytest.raises(ChainUnavailable, match="invalid project") as raised:
            await Rpc.to(1, [f"{url}/v3/{KEY}"]).request("eth_chainId")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "x"), "Connection refused"),
        (requests.exceptions.ReadTimeout(KEY), "no answer in time"),
        (requests.exceptions.SSLError(KEY), "TLS"),
        (requests.exceptions.ProxyError(KEY), "proxy"),
        (requests.exceptions.InvalidURL(KEY), "InvalidURL"),
        (ValueError(KEY), "ValueError"),
        (RecursionError(KEY), "RecursionError"),
    ],
)
async def test_a_librarys_failure_is_told_in_our_words(error: Exception, told: str) -> None:
    """Whatever it wrote of the request."""
    rpc = Rpc.to(1, ["http://h.example"])

    class Failing:
        def make_request(self, method: str, params: object) -> None:
            raise error

    rpc.endpoints[0].provider = Failing()  # type: ignore[assignment]
    with pytest.raises(ChainUnavailable, match=told) as raised:
        await rpc.request("eth_chainId")
    assert KEY not in str(raised.value)


async def test_refused_and_unknown_hosts_and_statuses_are_told_apart() -> None:
    """A person can act on each."""
    with pytest.raises(ChainUnavailable, match="Connection refused"):
        await Rpc.to(1, ["http://127.0.0.1:9"]).request("eth_chainId")
    with pytest.raises(ChainUnavailable, match="no such host"):
        await Rpc.to(1, ["http://nothing.invalid"]).request("eth_chainId")

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n")
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        with pytest.raises(ChainUnavailable, match="too many calls"):
            await Rpc.to(1, [f"http://127.0.0.1:{port}/{KEY}"]).request("eth_chainId")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1:8545", "localhost:8545", "[::1]:8545"])
def test_a_call_to_this_machine_leaves_the_environment_alone(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes by no proxy, and calls in many threads at once set no variable that one of them would
    miss when it takes it back."""
    url = f"http://{host}/"
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    seen: list[str] = []
    monkeypatch.setattr(
        os.environ.__class__, "__setitem__", lambda _, name, value: seen.append(name)
    )
    with requests.Session() as session:
        found = session.merge_environment_settings(url, direct(url)["proxies"], False, True, None)
    assert seen == []
    assert "192.0.2.1" not in str(found["proxies"])


BAD = {
    "127.0.0.1:8545": "write http://127.0.0.1:8545",
    "localhost:8545/" + KEY: "write http://localhost:8545",
    "eth.example": "write http://eth.example",
    f"wss://eth.example/{KEY}": "over HTTP, not wss",
    f"ws://eth.example?{KEY}": "over HTTP, not ws",
    f"ftp://{KEY}@eth.example": "over HTTP, not ftp",
    f"http://eth.example/#{KEY}": "after #",
    f"http://eth.example:0/{KEY}": "port",
    f"http://eth.example:99999/{KEY}": "port",
    f"http:///{KEY}": "no host",
    f"http://[::1/{KEY}": "no URL",
    f"http://eth.example/ {KEY}": "white space",
    f"http://eth.example/\n{KEY}": "white space",
    "": "no host|empty",
    "http://eth.example/" + KEY * 300: "long",
    f"me:{KEY}@eth.example:8545": "write http://eth.example:8545",
    f"{KEY}.rpc.example/v3": "write http:// before it",
    f"{KEY}?next=http://eth.example": "no scheme",
    f"http://eth.example:{KEY}/": "port",
    f"http://eth.example:1\\{KEY}": "port",
    f"http://eth.example\\{KEY}": "its host is no name",
    f"http://eth..example/{KEY}": "its host is no name",
    f"http://\u2603/{KEY}": "its host is no name",
    f"http://{'a' * 64}.example/{KEY}": "its host is no name",
    f"http://-eth.example/{KEY}": "its host is no name",
}


@pytest.mark.parametrize("url", BAD)
def test_an_endpoint_that_cannot_work_is_refused_where_it_is_written(url: str) -> None:
    """By the configuration, at its place, and by whoever makes a client of it."""
    tables = {
        "chain": {"id": 1, "endpoints": [url], "addresses": dict.fromkeys(PARTS, "0x" + "11" * 20)},
        "pool": {"id": 0},
    }
    config, problems = read_section_tables(AgentConfig, tables, {}, "P2POOL_")
    assert config is None
    (problem,) = problems
    assert problem.startswith("chain.endpoints: ")
    assert any(word in problem for word in BAD[url].split("|"))
    assert KEY not in problem
    with pytest.raises(Misconfigured) as raised:
        Rpc.to(1, [url])
    assert KEY not in str(raised.value)


PARTS = ("network", "pool", "registry", "stake", "domains", "token")


def test_a_url_in_the_wrong_place_is_not_quoted_whole() -> None:
    """One in place of a list is a common slip."""
    tables = {"chain": {"id": 1, "endpoints": f"https://eth.example/v3/{KEY}", "addresses": {}}}
    _, problems = read_section_tables(AgentConfig, tables, {}, "P2POOL_")
    assert any("chain.endpoints: must be a list" in text for text in problems)
    assert KEY not in str(problems)


def test_an_engines_failure_names_no_secret_of_its_address() -> None:
    """The SDK quotes the URL that it asked."""
    with pytest.raises(RuntimeUnavailable) as raised, engine_errors():
        raise requests.exceptions.ConnectionError(f"tcp://me:{KEY}@h:1/v1.41/{KEY}: refused")
    assert KEY not in str(raised.value)
    assert "tcp://h:1" in str(raised.value)


def test_what_is_no_secret_is_shown() -> None:
    """Else nobody would know which endpoint is meant."""
    assert (
        shown_url("https://eth-mainnet.example.org:8545/x")
        == "https://eth-mainnet.example.org:8545"
    )
    assert shown_url("http://[::1]:8545/x") == "http://[::1]:8545"
    assert shown_url("http://10.0.0.12") == "http://10.0.0.12"
    assert safe_text("see https://a.example/b?c, and d") == "see https://a.example/..., and d"


def test_a_text_of_any_length_is_searched_in_a_moment() -> None:
    """An endpoint may send megabytes of one letter, in which every one may begin a URL."""
    began_s = time.process_time()
    for text in ("a" * 8_000_000, "a://" * 2_000_000, "revert" * 1_000_000):
        assert len(safe_text(text)) < 3 * limits.FOREIGN_TEXT_MAX
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:1", "http://eth_node:8545", "http://p2pool-dev_anvil.x.", "http://h:"),
        *(
            "http://[::1]:8545/x",
            "http://[fe80::1%25eth0]/",
            "http://10.0.0.1",
            "https://b\u00fccher.de",
        ),
    ],
)
def test_an_endpoint_of_any_name_that_works_is_taken(url: str) -> None:
    """Names of containers, of other languages, and addresses."""
    assert rpc_problem(url) is None


@given(st.text(max_size=60), st.sampled_from(list(SHAPES)))
def test_no_text_makes_redaction_raise(text: str, shape: str) -> None:
    """Nor what is registered of a URL that is none."""
    url = SHAPES[shape].replace("{}", text)
    redaction.register_url(url)
    shown_url(url)
    safe_text(url)
