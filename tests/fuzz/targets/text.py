"""Texts that others wrote: addresses, names, data URIs, requirements, lines of metrics."""

from collections.abc import Iterator

from p2pool.codec.json.hex import unhex
from p2pool.codec.json.requests import read_allocation
from p2pool.codec.text import data_uri, metric_line, multiaddr, peer_id, requirements
from p2pool.codec.text.clip import clipped
from p2pool.codec.text.fit import fitted
from p2pool.drivers.containers.docker.images.reference import is_within, reference_of
from p2pool.drivers.containers.volumes import read_id
from p2pool.model.errors import Malformed, Refusal
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import texts, vectors

PEER = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"


def text_of(data: bytes) -> str:
    """Any text that JSON can carry: with halves of pairs, too."""
    return data.decode("utf-8", "surrogateescape")


@target(
    "text-multiaddr",
    seeds=texts(
        f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}",
        "/ip6/2001:db8::1/tcp/1",
        "/ip6/::ffff:127.0.0.1/tcp/65535",
        f"/dns4/a.example./tcp/4001/p2p/{PEER}/p2p-circuit",
        "/dnsaddr/a/udp/1/quic-v1",
        "/ip4/0.0.0.0/tcp/0",
        "/ip6/fe80::1%eth0/tcp/1",
    ),
    allowed=[Malformed],
)
def address(data: bytes) -> None:
    """An address, with its peer or without: what is dialled says what was read."""
    text = text_of(data)
    found = multiaddr.host_and_port(text)
    if found is not None:
        kind, host, port = found
        assert 0 <= port <= 65535
        assert f"/{kind}/{host}/tcp/" == text[: -len(text.rpartition("/")[2])]
    multiaddr.is_public(text)
    plain, key = multiaddr.split_peer(text)
    assert multiaddr.undialable(plain) is None
    assert key is None or text == f"{plain}/p2p/{peer_id.peer_id(key)}"
    multiaddr.full_address(text)


@target("text-peer-id", seeds=texts(PEER, f" {PEER}"), allowed=[Malformed])
def named_peer(data: bytes) -> None:
    """A peer id is the one text of its key."""
    text = text_of(data)
    assert peer_id.peer_id(peer_id.peer_key_of(text)) == text


def _uris() -> Iterator[bytes]:
    yield vectors("chain")["root"]["data_uri"].encode()
    yield f"gpu:count=8;p2pool:bootstrap=/ip4/1.2.3.4/tcp/1/p2p/{PEER};;x".encode()
    node, store, log = "01" * 20, "02" * 16, "03" * 32
    yield f"p2pool:root=2/{node}/{PEER}/{store}/{log}/7/{log}".encode()
    yield f"p2pool:root=2/{node}/{PEER}/{store}/{log}/7/01{log}".encode()


@target("text-data-uri", seeds=_uris, allowed=[Malformed])
def uri(data: bytes) -> None:
    """A pool's data URI: a root record is written as it was read, and a rewrite keeps the rest."""
    text = text_of(data)
    kept = data_uri.requirements(text)
    found = data_uri.read_bootstrap(text)
    root = data_uri.read_root(text)
    requirements.parse_requirements(kept)
    if root is not None:
        written = data_uri.format_root(root)
        assert data_uri.parse_root(written) == root
        again = data_uri.with_root(text, root)
        assert data_uri.read_root(again) == root
        assert data_uri.requirements(again) == kept
    data_uri.with_bootstrap(text, found)


@target(
    "text-requirements",
    seeds=texts(
        "gpu:count=8;gpu:model=h100,a100;gpu:count=1;cpu:cores=4;ram:mb=1", "x=;=;gpu:count"
    ),
    allowed=[Malformed],
)
def wanted(data: bytes) -> None:
    """A pool's requirements."""
    requirements.parse_requirements(text_of(data))


@target(
    "text-metrics",
    seeds=texts('{"loss": 0.41, "step": 1200}', '{"label": "loss", "value": 0.41}', '{"a":1e999}'),
    allowed=[Malformed],
    most_bytes=2048,
)
def metrics(data: bytes) -> None:
    """A line of a task's metrics: names and finite numbers."""
    for name, number in metric_line.parse_line(data):
        assert metric_line.NAME.fullmatch(name)
        assert number - number == 0, "not finite"


@target(
    "text-names",
    seeds=texts(
        "01" * 16 + ".7", "0x" + "01" * 16 + ".0", "task/name/0", "0xab", "01" * 16 + "/a/b"
    ),
    allowed=[Refusal],
)
def names(data: bytes) -> None:
    """Names of copies and volumes, hex, and texts cut to a bound."""
    text = text_of(data)
    for most in (0, 1, 2, 5, 64, 4096):
        cut = clipped(text, most)
        assert most < 3 or len(cut.encode()) <= most
        assert clipped(cut, most) == cut
    fitted(text).encode()
    read = read_allocation(text)
    assert read is None or 0 <= read.replica < 10**9
    assert unhex(text, len(text) // 2) is None or text.isascii()
    read_id(text)


@target(
    "text-image",
    seeds=texts("busybox", "docker.io/a:b", "localhost:5000/x/y@sha256:" + "0" * 64, "A/b", "a@"),
    allowed=[],
)
def image(data: bytes) -> None:
    """An image's reference: its normal form is its own normal form."""
    text = text_of(data)
    found = reference_of(text)
    is_within(text, ("docker.io", "ghcr.io/a", "busybox", ""))
    assert found.registry
    is_within(found.full, (text,))
