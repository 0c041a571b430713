"""The JSON in which proofs of who leads, and of who lied, travel from an API to a verifier.

    {"log_id": "<64 hex>", "root": "1/<node id>/<peer id>/<store id>", "dropped": 0,
     "base": [{"node_id": "0x...", "peer_id": "12D3...", "store_id": "<32 hex>"}],
     "links": [{"index": 7, "term": 2, "at_ms": 1, "voters": [...], "signatures": ["<hex>"]}],
     "certificate": ["<hex>"], "votes": ["<hex>"]}

    {"chain_id": 1, "contract": "0x...", "pool_id": 1, "first": "<hex>", "second": "<hex>"}
    {"chain_id": 1, "contract": "0x...", "pool_id": 1, "append": "<hex>", "word": "<hex>",
     "committee": [<voters>]}

Only the sealed messages, in hex, prove anything; the rest says how they belong together, and a lie
in it makes the proof fail. Further keys may be there for people; readers ignore them.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.text.data_uri import format_root, parse_root
from p2pool.codec.text.peer_id import peer_id, peer_key_of
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import (
    ADDRESS_BYTES,
    DIGEST_BYTES,
    STORE_ID_BYTES,
    Address,
    Digest,
    NodeId,
    PoolRef,
    StoreId,
)
from p2pool.model.log.certificates import BadAppend, CommitteeChain, LeaderProof, LieProof, Link
from p2pool.model.log.raft import Voter

INTEGER_MAX = 2**63 - 1


@attrs.frozen
class TwoMessages:
    """Two sealed messages of one voter, as somebody handed them over."""

    pool: PoolRef
    first: bytes
    second: bytes


@attrs.frozen
class OneAppend:
    """A leader's sealed append, its word on its committee (empty: none), and those whom that is
    said to name, as somebody handed them over."""

    pool: PoolRef
    append: bytes
    word: bytes
    committee: tuple[Voter, ...]


# --- writing ------------------------------------------------------------------------------------


def voter_json(voter: Voter) -> dict[str, Any]:
    """A voter by its three names."""
    return {
        "node_id": address_text(voter.node_id),
        "peer_id": peer_id(voter.peer_key),
        "store_id": voter.store_id.hex(),
    }


def proof_json(proof: LeaderProof) -> dict[str, Any]:
    """All the evidence that an agent holds of who leads."""
    chain = proof.chain
    return {
        "log_id": proof.log_id.hex(),
        "root": format_root(proof.root) if proof.root is not None else "",
        "epoch": chain.epoch,
        "dropped": chain.dropped,
        "base": [voter_json(v) for v in chain.base],
        "links": [
            {
                "index": link.index,
                "term": link.term,
                "at_ms": link.at_ms,
                "voters": [voter_json(v) for v in link.voters],
                "hash": committee_hash(link.voters).hex(),
                "given_up": link.given_up,
                "signatures": [sealed.hex() for sealed in link.signatures],
            }
            for link in chain.links
        ],
        "certificate": [sealed.hex() for sealed in proof.certificate],
        "votes": [sealed.hex() for sealed in proof.votes],
    }


def evidence_json(pool: PoolRef, proof: LieProof) -> dict[str, Any]:
    """A proof against a voter that can be checked anywhere, by anybody."""
    named = {
        "chain_id": pool.chain_id,
        "contract": address_text(pool.contract),
        "pool_id": pool.pool_id,
    }
    if isinstance(proof, BadAppend):
        committee = [voter_json(v) for v in proof.committee]
        return {
            **named,
            "append": proof.frame.hex(),
            "word": proof.word.hex(),
            "committee": committee,
        }
    return {**named, "first": proof.first.hex(), "second": proof.second.hex()}


# --- reading ------------------------------------------------------------------------------------


def read_proof(value: Any) -> LeaderProof:
    """The proof in a JSON value; `Malformed` for anything else."""
    table = _table(value, "proof")
    log_id = Digest(_bytes(table.get("log_id"), "log_id", DIGEST_BYTES))
    base = _voters(table.get("base"), "base")
    links = tuple(
        _link(one, f"links.{at}")
        for at, one in enumerate(_list(table.get("links"), "links", limits.CHAIN_LINKS_MAX))
    )
    root = table.get("root")
    chain = CommitteeChain(
        _number(table.get("epoch", 0), "epoch"),
        base,
        links,
        _number(table.get("dropped", 0), "dropped"),
    )
    return LeaderProof(
        log_id=log_id,
        root=parse_root(root) if isinstance(root, str) and root else None,
        chain=chain,
        certificate=_sealed(table.get("certificate"), "certificate"),
        votes=_sealed(table.get("votes"), "votes"),
    )


def read_evidence(value: Any) -> TwoMessages | OneAppend:
    """The sealed messages of a proof against a voter, and their pool; `Malformed` otherwise."""
    table = _table(value, "evidence")
    pool = PoolRef(
        _number(table.get("chain_id"), "chain_id"),
        Address(_bytes(table.get("contract"), "contract", ADDRESS_BYTES)),
        _number(table.get("pool_id"), "pool_id"),
    )
    if "append" not in table:
        first, second = _sealed([table.get("first"), table.get("second")], "first, second")
        return TwoMessages(pool, first, second)
    (append,) = _sealed([table["append"]], "append", limits.BAD_APPEND_MAX_BYTES)
    (word,) = _sealed([table.get("word", "")], "word")
    return OneAppend(pool, append, word, _voters(table.get("committee", []), "committee"))


def _link(value: Any, path: str) -> Link:
    table = _table(value, path)
    return Link(
        index=_number(table.get("index"), f"{path}.index"),
        term=_number(table.get("term"), f"{path}.term"),
        at_ms=_number(table.get("at_ms", 0), f"{path}.at_ms"),
        voters=_voters(table.get("voters"), f"{path}.voters"),
        signatures=_sealed(table.get("signatures"), f"{path}.signatures"),
        given_up=bool(table.get("given_up", False)),
    )


def _voters(value: Any, path: str) -> tuple[Voter, ...]:
    return tuple(
        _voter(one, f"{path}.{at}")
        for at, one in enumerate(_list(value, path, limits.VOTERS_MAX + 1))
    )


def _voter(value: Any, path: str) -> Voter:
    table = _table(value, path)
    peer = table.get("peer_id")
    if not isinstance(peer, str) or len(peer) > limits.NAME_MAX_BYTES:
        raise Malformed(f"{path}.peer_id is not a peer id.")
    return Voter(
        NodeId(_bytes(table.get("node_id"), f"{path}.node_id", ADDRESS_BYTES)),
        peer_key_of(peer),
        StoreId(_bytes(table.get("store_id"), f"{path}.store_id", STORE_ID_BYTES)),
    )


def _sealed(
    value: Any, path: str, most_bytes: int = limits.SEALED_SIGNATURE_MAX_BYTES
) -> tuple[bytes, ...]:
    out: list[bytes] = []
    for one in _list(value, path, limits.VOTERS_MAX + 1):
        plain = isinstance(one, str) and len(one) <= 2 * most_bytes
        found = unhex(one, len(one) // 2) if plain else None
        if found is None:
            raise Malformed(f"{path} has something that is not a sealed message in hex.")
        out.append(found)
    return tuple(out)


def _table(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{path} is not an object.")
    return value


def _list(value: Any, path: str, most: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise Malformed(f"{path} is not a list of {most} at most.")
    return value


def _number(value: Any, path: str) -> int:
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        raise Malformed(f"{path} is not a number.")
    return value


def _bytes(value: Any, path: str, size: int) -> bytes:
    found = unhex(value, size) if isinstance(value, str) else None
    if found is None:
        raise Malformed(f"{path} is not {size} bytes in hex.")
    return found
