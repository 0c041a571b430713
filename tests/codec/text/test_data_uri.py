"""The pool's data URI keeps what others wrote in it, and the root record as it was."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.cbor import canonical
from p2pool.codec.digests import digest, log_id
from p2pool.codec.text.data_uri import (
    format_root,
    moved_record,
    parse_root,
    read_bootstrap,
    read_root,
    requirements,
    stated_bootstrap,
    stated_root,
    with_bootstrap,
    with_requirements,
    with_root,
    without_own,
)
from p2pool.model import limits
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, PoolRef, StoreId
from p2pool.model.log.state_digests import DigestAlgorithm, state_digest

previous = st.builds(
    PreviousLog,
    st.binary(min_size=32, max_size=32).map(Digest),
    st.integers(0, 2**50),
    st.builds(state_digest, st.sampled_from(DigestAlgorithm), st.binary(min_size=32, max_size=32)),
)
roots = st.builds(
    RootRecord,
    st.integers(1, 2**50),
    st.binary(min_size=20, max_size=20).map(NodeId),
    st.binary(min_size=32, max_size=32).map(PeerKey),
    st.binary(min_size=16, max_size=16).map(StoreId),
    st.none() | previous,
)
ROOT = RootRecord(1, NodeId(b"n" * 20), PeerKey(b"p" * 32), StoreId(b"s" * 16))


@given(roots)
def test_a_root_record_comes_back_as_it_was_written(root: RootRecord) -> None:
    """Writing and reading are inverse."""
    assert parse_root(format_root(root)) == root


def test_a_record_of_the_first_release_names_no_algorithm() -> None:
    """It is read as algorithm 0 and written anew as it was; the log that it founds keeps its name,
    and another algorithm's digest of the same bytes is another log's."""
    text = format_root(ROOT) + f"/{'aa' * 32}/7/{'bb' * 32}"
    root = parse_root(text)
    assert root.previous is not None
    assert root.previous.state_digest == b"\0" + b"\xbb" * 32
    assert format_root(root) == text
    pool = PoolRef(31337, Address(b"c" * 20), 1)
    founded: list[canonical.Value] = [
        1,
        ROOT.founder,
        ROOT.peer_key,
        ROOT.store_id,
        [b"\xaa" * 32, 7, b"\xbb" * 32],
    ]
    named = canonical.encode(["p2pool/1", "log", [31337, pool.contract, 1], founded])
    assert log_id(pool, root) == digest(named)
    other = parse_root(text.replace("bb" * 32, "01" + "bb" * 32))
    assert log_id(pool, other) != log_id(pool, root)


@pytest.mark.parametrize(("start", "why"), [("00", "being shorter"), ("07", "algorithm 7")])
def test_a_digest_by_no_known_algorithm_founds_nothing(start: str, why: str) -> None:
    """It is refused with a sentence; a data URI with it has no record that can be read."""
    text = format_root(ROOT) + f"/{'aa' * 32}/7/{start}{'bb' * 32}"
    with pytest.raises(Malformed, match=why):
        parse_root(text)
    assert read_root(f"p2pool:root={text}") is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_harm(text: str) -> None:
    """A URI of another system, or garbage, has no root record."""
    read_root(text)
    read_bootstrap(text)
    requirements(text)


def test_what_others_wrote_is_kept_in_its_place() -> None:
    """Only p2pool's own pairs are replaced."""
    uri = "gpu:count=8;gpu:model=h100;p2pool:root=old;x=y"
    made = with_bootstrap(with_root(uri, ROOT), ("/ip4/127.0.0.1/tcp/1/p2p/x",))
    assert made.startswith("gpu:count=8;gpu:model=h100;x=y;p2pool:root=1/")
    assert requirements(made) == "gpu:count=8;gpu:model=h100;x=y"
    assert read_root(made) == ROOT
    assert read_bootstrap(made) == ("/ip4/127.0.0.1/tcp/1/p2p/x",)


@given(st.text("ab=;: ", max_size=30), roots)
def test_a_rewrite_keeps_the_rest_to_the_byte(uri: str, root: RootRecord) -> None:
    """Empty parts and spaces among it: whoever wrote them finds them again."""
    made = with_root(uri, root)
    assert (without_own(made), read_root(made)) == (uri, root)
    assert without_own(with_root(made, ROOT)) == uri


def test_a_text_that_is_too_long_is_unknown_and_is_never_cut() -> None:
    """What the pool asks for is not nothing; no rewrite drops what it cannot read."""
    long = "gpu:count=8;x=" + "y" * limits.DATA_URI_MAX_BYTES
    with pytest.raises(Malformed, match="16398 bytes; at most 16384"):
        requirements(long)
    with pytest.raises(Malformed, match="at most"):
        with_root(long, ROOT)
    with pytest.raises(Malformed, match="at most"):
        with_bootstrap(long, ("/ip4/1",))
    assert read_root(f"{long};p2pool:root={format_root(ROOT)}") is None
    assert with_requirements(f"{long};p2pool:root=x", "ram_mb=1") == "ram_mb=1;p2pool:root=x"


def test_pairs_are_read_with_the_spaces_that_others_put_around_them() -> None:
    """As the network's tools read them."""
    text = f"gpu:count = 8 ; p2pool:root = {format_root(ROOT)} ; p2pool:bootstrap= /ip4/1 "
    assert (read_root(text), read_bootstrap(text)) == (ROOT, ("/ip4/1",))
    assert requirements(text) == "gpu:count = 8 "


def test_a_data_uri_and_a_record_state_one_root() -> None:
    """The higher epoch's, of one epoch the record's; what nobody can read states none."""
    other = attrs.evolve(ROOT, founder=NodeId(b"o" * 20))
    later = attrs.evolve(ROOT, epoch=2)
    ours, theirs, next_one = (with_root("", one) for one in (ROOT, other, later))
    for uri, record, found in (
        (ours, None, ROOT),
        (ours, "", ROOT),
        (ours, "p2pool:root=1/nonsense", ROOT),
        (ours, theirs, other),
        (next_one, ours, later),
        (ours, next_one, later),
        ("p2pool:root=x", ours, ROOT),
        ("", None, None),
    ):
        assert stated_root(uri, record) == found, (uri, record)
    assert stated_bootstrap("p2pool:bootstrap=/a", "") == ("/a",)
    assert stated_bootstrap("p2pool:bootstrap=/a", "p2pool:bootstrap=/b") == ("/b",)


def test_a_record_takes_all_of_p2pools_pairs_and_no_others() -> None:
    """Of a later version too; done again, it changes nothing."""
    uri = f"ram_mb=1;p2pool:bootstrap=/a; p2pool:later=1;p2pool:root={format_root(ROOT)}"
    record = moved_record(uri, None)
    assert record == f"p2pool:later=1;p2pool:root={format_root(ROOT)};p2pool:bootstrap=/a"
    assert moved_record(without_own(uri), record) == record
    assert moved_record(uri, "") == record
    assert moved_record("ram_mb=1;p2pool:root=x", None) == ""


def test_two_root_records_found_nothing() -> None:
    """It cannot be told which is meant."""
    text = format_root(ROOT)
    assert read_root(f"p2pool:root={text};p2pool:root={text}") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2/3/4",
        format_root(ROOT).upper(),
        "0" + format_root(ROOT)[1:],
        "0" + format_root(ROOT),
    ],
)
def test_a_bad_root_record_is_refused(text: str) -> None:
    """There is one way to write it."""
    with pytest.raises(Malformed):
        parse_root(text)


def test_a_bootstrap_address_cannot_smuggle_a_pair() -> None:
    """A semicolon would begin another pair."""
    with pytest.raises(Malformed):
        with_bootstrap("", ("/ip4/1.2.3.4;p2pool:root=x",))
