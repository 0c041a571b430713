"""The state is read back from its rows as it was written, or refused with what to do about it."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pool.codec import rows as row_bytes
from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import encode_struct, lowest_level
from p2pool.codec.digests import digest
from p2pool.codec.rows import put_record
from p2pool.core.fsm.state import NodeRecord, PoolState
from p2pool.core.fsm.storage import array, rows
from p2pool.core.fsm.storage.rows import decode_state, digest_by, digest_of, encode_state
from p2pool.core.fsm.storage.tables import META_ROWS, TABLES, Table
from p2pool.model import features, limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Malformed, Refusal, TooNew
from p2pool.model.features import BASE_LEVEL, since
from p2pool.model.ids import NodeId
from p2pool.model.log.state_digests import DigestAlgorithm, algorithm_of
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.codec.samples import example, instances
from tests.core.fsm.records import GPU, NODE, POOL, ask, feed, placed, request

pytestmark = pytest.mark.usefixtures("as_first_version")

slow = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def used() -> PoolState:
    """A state with a row in most tables."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1, gpus=1))
    feed(state, placed(name, NODE, GPU))
    ask(state, request(Action.SET, 2, "timing"))
    for table in TABLES:
        filled = table.name in ("tasks", "allocations", "applied")
        if not filled and table.since == BASE_LEVEL:
            table.take(state, example(table.record))
    return state


def of_base(record: Any) -> Any:
    """A record as the first level has it: what came later is the default."""
    later = [f for f in attrs.fields(type(record)) if features.level_of(f) > BASE_LEVEL]
    return attrs.evolve(record, **{field.name: field.default for field in later})


@st.composite
def states(draw: st.DrawFn) -> PoolState:
    """Any state, but for its tasks, which have specifications that can be read."""
    state = used()
    for one in META_ROWS[1:]:
        one.take(state, of_base(draw(instances(one.record))))
    for table in TABLES:
        if table.name != "tasks" and table.since == BASE_LEVEL:
            for record in draw(st.lists(instances(table.record), max_size=3)):
                table.take(state, of_base(record))
    chain = {link.index: link for link in state.chain.links}
    state.chain = attrs.evolve(state.chain, links=tuple(chain.values()))
    return state


@given(states())
@slow
def test_any_state_comes_back(state: PoolState) -> None:
    """The same bytes, the same digests, in the order that it had."""
    data = encode_state(state)
    again = decode_state(data)
    assert encode_state(again) == data
    assert array.encode_array(again) == array.encode_array(state)
    for algorithm in DigestAlgorithm:
        assert digest_by(algorithm, again) == digest_by(algorithm, state)


@given(states(), states())
@slow
def test_what_is_kept_of_the_last_encoding_changes_no_byte(one: PoolState, two: PoolState) -> None:
    """Whatever stays, goes, comes or is another record under the same key."""
    encode_state(one)
    two.row_cache = one.row_cache
    assert encode_state(two) == encode_state(attrs.evolve(two, row_cache=row_bytes.RowCache()))


@given(st.data())
@slow
def test_any_bytes_are_a_state_or_refused(data: st.DataObject) -> None:
    """One byte changed, or some cut off: nothing but a refusal gets out."""
    good = encode_state(used())
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    for junk in (bad, good[:at], data.draw(st.binary(max_size=50))):
        try:
            assert encode_state(decode_state(junk)) == junk
        except Refusal:
            continue


Items = list[Any]


def edited(change: Callable[[Items], None]) -> bytes:
    """The bytes of a state whose rows were changed."""
    items = canonical.decode(encode_state(used()))
    assert isinstance(items, list)
    change(items)
    return canonical.encode(items)


def place_of(items: Items, table: str) -> int:
    """Where the first row of a table stands."""
    return next(at for at, item in enumerate(items) if isinstance(item, list) and item[0] == table)


def in_row(table: str, field: int, value: Any) -> Callable[[Items], None]:
    """A change of one field of a table's first row."""

    def change(items: Items) -> None:
        items[place_of(items, table)][field] = value

    return change


def again(table: str) -> Callable[[Items], None]:
    """A table's first row, twice."""

    def change(items: Items) -> None:
        at = place_of(items, table)
        items.insert(at, items[at])

    return change


NEWER: dict[str, Callable[[Items], None]] = {
    "format": lambda items: items.__setitem__(1, 2),
    "table": lambda items: items.append(["volumes", b"k", 1, b"\x80"]),
    "meta": lambda items: items.insert(7, ["meta", b"quota", 1, b"\x80"]),
    "version": in_row("nodes", 2, NEXT_LEVEL),
    "level": in_row("meta", 3, canonical.encode([NEXT_LEVEL, "0.3.0"])),
}


@pytest.mark.parametrize("what", NEWER)
def test_what_only_a_newer_version_reads_is_refused_as_that(what: str) -> None:
    """Never dropped: this replica would decide otherwise than those who read it."""
    with pytest.raises(TooNew, match=r"newer .* Upgrade p2pool"):
        decode_state(edited(NEWER[what]))


WRONG: dict[str, Callable[[Items], None]] = {
    "another kind of thing": lambda items: items.__setitem__(0, "p2pool/other"),
    "format zero": lambda items: items.__setitem__(1, 0),
    "no level": lambda items: items.pop(2),
    "a part of meta missing": lambda items: items.pop(4),
    "meta twice": again("meta"),
    "a key twice": again("tasks"),
    "another's key": in_row("nodes", 1, b"n" * 20),
    "tables out of order": lambda items: items.append(items[place_of(items, "tasks")]),
    "a value that is none": in_row("nodes", 3, b"\x80"),
    "a value that is not bytes": in_row("nodes", 3, "value"),
    "version zero": in_row("nodes", 2, 0),
    "version true": in_row("nodes", 2, True),
    "a long key": in_row("settings", 1, b"k" * (limits.ROW_KEY_MAX_BYTES + 1)),
    "a table that is no text": in_row("nodes", 0, 7),
    "a row too short": lambda items: items.__setitem__(-1, items[-1][:3]),
    "a row that is none": lambda items: items.append(7),
    "a field more": lambda items: items[-1].append(0),
}


@pytest.mark.parametrize("what", WRONG)
def test_rows_that_are_no_state_are_refused(what: str) -> None:
    """Each thing that a writer of this version never writes."""
    with pytest.raises(Malformed) as refused:
        decode_state(edited(WRONG[what]))
    assert not isinstance(refused.value, TooNew)


def test_too_many_bytes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is checked before any work."""
    data = encode_state(used())
    monkeypatch.setattr(limits, "SNAPSHOT_MAX_BYTES", len(data))
    decode_state(data)
    monkeypatch.setattr(limits, "SNAPSHOT_MAX_BYTES", len(data) - 1)
    monkeypatch.setattr(canonical, "decode", None)
    with pytest.raises(Malformed, match="at most"):
        decode_state(data)


def test_more_links_than_there_may_be_are_neither_written_nor_read() -> None:
    """The committee's chain is bounded."""
    state = used()
    (link,) = state.chain.links
    links = tuple(attrs.evolve(link, index=n) for n in range(limits.CHAIN_LINKS_MAX + 1))
    state.chain = attrs.evolve(state.chain, links=links[:-1])
    decode_state(encode_state(state))
    state.chain = attrs.evolve(state.chain, links=links)
    with pytest.raises(Malformed, match="links"):
        encode_state(state)


def test_what_did_not_change_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest a second costs what changed, not what there is."""
    state = PoolState(POOL, 1)
    for number in range(50):
        ask(state, request(Action.SUBMIT, number))
    encode_state(state)
    encoded: list[str] = []

    def encode(record: object, *level: Any) -> bytes:
        encoded.append(type(record).__name__)
        return encode_struct(record, *level)

    monkeypatch.setattr(row_bytes, "encode_struct", encode)
    ask(state, request(Action.SUBMIT, 99))
    digest_of(state)
    assert encoded == ["AppliedRow", "TaskRecord", "Allocation", "AppliedRequest"]


def test_a_digest_names_its_algorithm() -> None:
    """By the rows from this release on, by the array for who recovers from an older record."""
    state = used()
    assert digest_of(state) == b"\x01" + digest(encode_state(state))
    assert digest_by(DigestAlgorithm.ARRAY, state) == b"\0" + digest(array.encode_array(state))
    state.level = NEXT_LEVEL
    assert digest_by(DigestAlgorithm.ARRAY, state) is None, "0.1.0 had no levels"
    with pytest.raises(TooNew, match="algorithm 7"):
        algorithm_of(b"\x07" + bytes(32))


# --- the next version ---------------------------------------------------------------------------


@attrs.frozen
class GrownNode:
    """A judged node as the next version knows it."""

    node_id: NodeId
    battery: int = since(NEXT_LEVEL, default=0)


@attrs.frozen
class OldNode:
    """The same as this version knows it."""

    node_id: NodeId


def with_nodes(monkeypatch: pytest.MonkeyPatch, record: type) -> None:
    """Play a version whose nodes are of this class."""
    grown = tuple(
        attrs.evolve(table, record=record) if table.name == "nodes" else table for table in TABLES
    )
    monkeypatch.setattr(rows, "TABLES", grown)


def nodes_of(record: Any, level: int = BASE_LEVEL) -> PoolState:
    """A state with one node."""
    state = PoolState(POOL, 1)
    state.nodes[record.node_id] = record
    state.level = type(BASE_LEVEL)(level)
    return state


def test_the_next_version_reads_writes_and_digests_as_this_one_below_its_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its new field has its default; and it is written from the level on, with its version."""
    node = NodeId(b"n" * 20)
    with_nodes(monkeypatch, OldNode)
    old = encode_state(nodes_of(OldNode(node)))
    with_nodes(monkeypatch, GrownNode)
    with next_version():
        read = decode_state(old)
        assert list(read.nodes.values()) == [GrownNode(node)]  # type: ignore[comparison-overlap]
        assert encode_state(read) == old
        read.level = NEXT_LEVEL
        new = encode_state(read)
        assert encode_state(decode_state(new)) == new != old
        (row,) = [r for r in row_bytes.split_rows(new) if r.table == "nodes"]
        assert row.version == NEXT_LEVEL
        with pytest.raises(AssertionError):
            encode_state(nodes_of(GrownNode(node, battery=7)))
    with pytest.raises(TooNew):
        decode_state(new)


def test_a_table_of_the_next_version_is_written_from_its_level_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Below it there is none in the bytes, and a row of it is our bug."""
    kept: dict[bytes, OldNode] = {}
    table = Table(
        name="batteries",
        record=OldNode,
        key=lambda one: bytes(one.node_id),
        records=lambda state: kept.values(),
        take=lambda state, one: kept.update({one.node_id: one}),
        since=NEXT_LEVEL,
    )
    plain = encode_state(used())
    with next_version(), monkeypatch.context() as patch:
        patch.setattr(rows, "TABLES", (*TABLES, table))
        patch.setattr(rows, "ORDER", {**rows.ORDER, "batteries": len(rows.ORDER)})
        assert encode_state(used()) == plain
        kept[b"n"] = OldNode(NodeId(b"n" * 20))
        with pytest.raises(AssertionError, match="batteries"):
            encode_state(used())
        state = attrs.evolve(used(), level=NEXT_LEVEL)
        data = encode_state(state)
        kept.clear()
        decode_state(data)
        assert list(kept) == [b"n" * 20]


def test_a_row_of_the_store_is_as_old_as_what_it_says() -> None:
    """The version before reads it, until there is something in it that it cannot know."""
    with next_version():
        plain, grown = GrownNode(NodeId(b"n" * 20)), GrownNode(NodeId(b"n" * 20), battery=1)
        assert (lowest_level(plain), lowest_level(grown)) == (BASE_LEVEL, NEXT_LEVEL)
        put = put_record("meta", b"k", plain)
        assert (put.version, put.value) == (BASE_LEVEL, encode_struct(plain))
        assert put_record("meta", b"k", grown).version == NEXT_LEVEL
    assert put_record("meta", b"k", example(NodeRecord)).version == BASE_LEVEL
