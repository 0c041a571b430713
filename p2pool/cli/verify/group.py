"""`p2pool verify`: checks what agents say, from the chain and from signatures alone.

Exit codes: 0 proven; 3 not proven, or a bad signature; 5 the proof is too old or lacks its
certificate, so asking again may help.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.documents import visible
from p2pool.cli.lazy import LazyGroup
from p2pool.cli.shared.chain import ConfigFile, config_file, config_option
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import write_json
from p2pool.cli.shared.types import AddressType, FilePath, Number
from p2pool.client.agent_client import AgentClient
from p2pool.codec.digests import committee_hash
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.json.proofs import (
    OneAppend,
    TwoMessages,
    read_evidence,
    read_proof,
    voter_json,
)
from p2pool.drivers.input_files import read_input
from p2pool.model import limits
from p2pool.model.errors import BadSignature, ChainUnavailable, Malformed, Misconfigured, NotFound
from p2pool.model.ids import DIGEST_BYTES, Address, Digest, PoolRef
from p2pool.model.log.certificates import CHANGE, HISTORY, BadAppend, LieProof
from p2pool.proofs.evidence_text import told

if TYPE_CHECKING:
    from p2pool.model.chain.root_record import RootRecord

UINT63 = 2**63 - 1


HEAVY = {
    "validation": (
        "p2pool.cli.verify.validation:validation",
        "Check the evidence behind a validator's verdict on a node.",
    ),
}


@click.group(
    name="verify",
    cls=LazyGroup,
    table=HEAVY,
    help="Check proofs: who leads, who lied, what hardware a node showed.",
)
def verify() -> None:
    """The group."""


@verify.command("leader")
@click.option(
    "--rpc",
    "urls",
    multiple=True,
    metavar="URL",
    help="RPC endpoint of the chain; several must agree. Default: [chain] endpoints.",
)
@click.option("--chain-id", type=Number(1, UINT63), help="Default: [chain] id.")
@click.option(
    "--contract",
    type=AddressType(),
    metavar="ADDRESS",
    help="The pool contract. Default: [chain.addresses] pool.",
)
@click.option("--pool", "number", type=Number(0, UINT63), help="Default: [pool] id.")
@click.option(
    "--trust",
    metavar="HASH",
    help="Begin at the committee with this hash, which you trust on other grounds.",
)
@agent_option
@config_option
@json_option
def leader(
    urls: tuple[str, ...],
    chain_id: int | None,
    contract: Address | None,
    number: int | None,
    trust: str | None,
    client: AgentClient,
    config: Path | None,
    as_json: bool,
) -> None:
    """Check who leads, from the chain's root record and the committee's signatures.

    The agent only hands over the signatures; the command trusts it for nothing.
    """
    from p2pool.wire.leader_verification import verify_leader

    place = client.url if client.directory is None else str(client.directory)
    find = partial(config_file, config, place)
    pool, endpoints, recorded = _which(urls, chain_id, contract, number, find)
    trusted = _trusted(trust)
    root = _root_on_chain(pool, endpoints, recorded)
    answer = client.get("/v1/leader")["leader"].get("proof")
    if answer is None:
        raise NotFound(
            "The agent follows no log, so it has no proof to show.",
            hint="Ask another agent: --agent URL|DIR.",
        )
    wall_ms = time.time_ns() // 1_000_000
    found = verify_leader(pool, root, read_proof(answer), wall_ms, trusted)
    certificate = found.certificate
    if as_json:
        write_json(
            "proof",
            {
                "proven": True,
                "leader": voter_json(certificate.leader),
                "log_id": certificate.log_id.hex(),
                "term": certificate.term,
                "commit_index": certificate.commit_index,
                "state_digest": certificate.state_digest.hex(),
                "time_ms": certificate.time_ms,
                "committee": [voter_json(voter) for voter in found.voters],
                "committee_hash": certificate.committee_hash.hex(),
                "signatures": len(certificate.signatures),
                "votes": found.votes,
                "sentences": list(found.sentences),
            },
        )
        return
    click.echo(
        f"Proven: {address_text(certificate.leader.node_id)} leads, in term {certificate.term}."
    )
    for sentence in found.sentences:
        click.echo(f"- {visible(sentence)}")


def _which(
    urls: tuple[str, ...],
    chain_id: int | None,
    contract: Address | None,
    number: int | None,
    find_config: Callable[[], ConfigFile],
) -> tuple[PoolRef, tuple[str, ...], Address | None]:
    """The pool, the chain's endpoints, and where PoolRoot is if not at its known address: from the
    options, or else from the configuration."""
    if urls and chain_id is not None and contract is not None and number is not None:
        return PoolRef(chain_id, contract, number), urls, None
    from p2pool.drivers.config.schema import load_chain, load_config

    try:
        config = find_config()
        chain = load_chain(config.path, config.environment)
        if number is None:
            number = load_config(config.path, config.environment).pool.id
    except Misconfigured as error:
        raise Misconfigured(
            f"No pool is named: {error.message}",
            hint="Give --config FILE, or all of --rpc, --chain-id, --contract and --pool.",
        ) from error
    at = chain.addresses
    ref = PoolRef(chain_id or chain.id, contract or at.pool, number)
    return ref, urls or chain.endpoints, at.root if ref.contract == at.pool else None


def _trusted(text: str | None) -> Digest | None:
    if text is None:
        return None
    found = unhex(text, DIGEST_BYTES)
    if found is None:
        raise click.UsageError(f"--trust {text!r} is not a committee's hash: 64 hex digits.")
    return Digest(found)


def _root_on_chain(pool: PoolRef, urls: tuple[str, ...], recorded: Address | None) -> "RootRecord":
    """The root record at the last final block, on which every endpoint agrees."""
    import trio

    from p2pool.drivers.chain.addresses import Addresses
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.rpc import Rpc

    at = attrs.evolve(Addresses(*[pool.contract] * 6), root=recorded)

    async def read() -> "list[RootRecord | None]":
        found = []
        for url in dict.fromkeys(urls):
            chain = PoolContracts(Rpc.to(pool.chain_id, [url]), at)
            found.append((await chain.pool(pool.pool_id, "finalized")).root)
        return found

    roots = trio.run(read)
    if any(root != roots[0] for root in roots):
        raise ChainUnavailable(
            "The endpoints do not agree on the pool's root record.",
            hint="One of them lags or lies: ask again, or name other endpoints.",
        )
    if roots[0] is None:
        raise NotFound(
            f"Pool {pool.pool_id} has no root record in a final block, so nothing says which log is"
            " its own.",
            hint="See whether it had one: p2pool pool root.",
        )
    return roots[0]


@verify.command("evidence")
@click.argument("file", type=FilePath())
@json_option
def evidence(file: Path, as_json: bool) -> None:
    """Check the proof that a voter lied.

    FILE comes from `p2pool pool evidence --out FILE`. The command asks nobody: what the voter
    signed is the whole proof. Either it signed two words of which an honest voter signs one, or, as
    a leader, an entry that no honest leader sends.
    """
    given = read_evidence(_read_json(file))
    found = _lie_in(given)
    if as_json:
        write_json("proof", _proven(given.pool, found))
        return
    pool, append = given.pool, isinstance(found, BadAppend)
    signed = "it" if append else "both messages"
    click.echo(f"Proven: {visible(told(found))}")
    click.echo(
        f"- Its peer key signed {signed}, for pool {pool.pool_id} of "
        f"{address_text(pool.contract)} on chain {pool.chain_id}; "
        + ("no honest leader signs that." if append else "no honest voter signs both.")
    )
    if isinstance(found, BadAppend) and found.committee:
        click.echo(
            "- The committee before that entry is the one whose hash the leader itself signed: "
            f"{committee_hash(found.committee).hex()}."
        )
    click.echo("- The committee's chain of changes shows whether that key was a voter's at all.")


def _lie_in(given: TwoMessages | OneAppend) -> LieProof:
    """What sealed messages prove; a `Refusal` if nothing."""
    from p2pool.proofs.append_proof import bad_append
    from p2pool.proofs.certificates import equivocation
    from p2pool.wire.enclosures import open_one
    from p2pool.wire.signers import SignerCache

    if isinstance(given, TwoMessages):
        return equivocation(open_one(given.pool, given.first), open_one(given.pool, given.second))
    append = open_one(given.pool, given.append, limits.BAD_APPEND_MAX_BYTES)
    word = open_one(given.pool, given.word) if given.word else None
    if given.word and word is None:
        raise BadSignature("Its leader's word on the committee does not verify for this pool.")
    return bad_append(append, word, given.committee, SignerCache(given.pool).signers)


def _proven(pool: PoolRef, found: LieProof) -> dict[str, Any]:
    """The verdict for programs; what a kind of proof does not have is left out."""
    said: dict[str, Any] = {
        "proven": True,
        "chain_id": pool.chain_id,
        "contract": address_text(pool.contract),
        "pool_id": pool.pool_id,
        "log_id": found.log_id.hex(),
        "term": found.term,
        "kind": found.kind,
        "voter": voter_json(found.voter),
        "text": told(found),
    }
    if isinstance(found, BadAppend):
        return {**said, "index": found.index, "reason": found.reason}
    if found.kind in (HISTORY, CHANGE):
        hashes = found.first_hash.hex(), found.second_hash.hex()
        return {
            **said,
            "index": found.index,
            "first_hash": hashes[0],
            "second_hash": hashes[1],
        }
    return {
        **said,
        "first_for": voter_json(found.first_for),
        "second_for": voter_json(found.second_for),
    }


def _read_json(file: Path) -> Any:
    try:
        data = read_input(file, limits.PROOF_FILE_MAX_BYTES, "proof")
    except OSError as error:
        raise Misconfigured(f"Cannot read {file}: {error.strerror}.") from error
    if len(data) > limits.PROOF_FILE_MAX_BYTES:
        raise Malformed(f"{file} is larger than a proof can be.")
    try:
        if too_deep(data.decode()):
            raise Malformed(f"{file} is nested too deeply to be a proof.")
        value = unwrapped(json.loads(data))
    except ValueError as error:
        raise Malformed(f"{file} is not JSON.") from error
    # One proof, or the document that `p2pool pool evidence --json` writes with one proof in it.
    if isinstance(value, list):
        if len(value) != 1:
            raise Malformed(
                f"{file} holds {len(value)} proofs; this command checks one.",
                hint="Write one proof to a file: p2pool pool evidence --out FILE.",
            )
        value = value[0]
    return value.get("proof", value) if isinstance(value, dict) else value
