"""A peer id is its key written another way, as libp2p itself writes it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.text.peer_id import peer_id, peer_key_of
from p2pool.model.errors import Malformed
from p2pool.model.ids import PeerKey


@given(st.binary(min_size=32, max_size=32))
def test_keys_come_back(key: bytes) -> None:
    """The text of a peer id gives the key again."""
    assert peer_key_of(peer_id(PeerKey(key))) == key
    assert peer_id(PeerKey(key)).startswith("12D3KooW")


def test_known_peer_id() -> None:
    """The peer id of a fixed key, as go-libp2p and js-libp2p write it (specs, peer-ids)."""
    key = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    assert peer_id(PeerKey(key)) == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0OIl",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooW",
        "1" * 10**6,
        "ü",
        " 12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """Not base58, an RSA peer id, too short, absurdly long."""
    with pytest.raises(Malformed):
        peer_key_of(text)


@given(st.text(max_size=70))
def test_any_text_is_a_key_or_malformed(text: str) -> None:
    """Nothing but `Malformed` gets out."""
    with suppress(Malformed):
        assert peer_id(peer_key_of(text)) == text
