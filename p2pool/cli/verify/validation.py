"""`p2pool verify validation`: checks the evidence behind a validator's verdict, asking nobody.

Exit codes: 0 the document is good, whatever it concludes of the node; 3 it is not, or its signer
is no validator; 5 no endpoint says whether it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.documents import visible
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import size, write_json
from p2pool.cli.shared.types import AddressType, FilePath
from p2pool.codec.json.hex import address_text
from p2pool.drivers.input_files import read_input
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    Malformed,
    Misconfigured,
    NotAllowed,
    Refusal,
    TooNew,
)
from p2pool.model.ids import Address

if TYPE_CHECKING:
    from p2pool.model.validation.evidence import Evidence, SignedEvidence

TRUSTED = (
    "how long each answer took: the times are by its clock",
    "that an answer was missing, bad, or did not fit, where it says so",
)
"""What no document can prove, whoever signed it."""


@click.command("validation")
@click.argument("file", type=FilePath())
@click.option(
    "--validator-role",
    is_flag=True,
    help="Ask the chain, too, whether the signer is a validator: needs --rpc and --network.",
)
@click.option(
    "--rpc",
    "urls",
    multiple=True,
    metavar="URL",
    help="RPC endpoint of the chain; several must agree.",
)
@click.option(
    "--network",
    type=AddressType(),
    metavar="ADDRESS",
    help="The network's contract, which keeps the roles (PrimeNetwork).",
)
@json_option
def validation(
    file: Path,
    validator_role: bool,
    urls: tuple[str, ...],
    network: Address | None,
    as_json: bool,
) -> None:
    """Check the evidence behind a validator's verdict on a node.

    FILE comes from `p2pool validation get`. The command asks nobody: it checks who signed, derives
    from the seeds what the node had to compute, and judges anew. It says which of the faults prove
    themselves, and what remains the validator's word.
    """
    if validator_role != bool(urls) or validator_role != (network is not None):
        raise click.UsageError("--validator-role goes with --rpc URL and --network ADDRESS.")
    signed = _read(file)
    _judge(signed)
    if network is not None:
        _check_role(signed, urls, network)
    if as_json:
        write_json("validation", _told(signed, checked=validator_role))
        return
    _say(signed, checked=validator_role)


def _read(file: Path) -> "SignedEvidence":
    """The document; Malformed: these bytes are none."""
    from p2pool.codec.validation import evidence_of

    most = limits.EVIDENCE_DOCUMENT_MAX_BYTES
    try:
        data = read_input(file, most, "evidence")
    except OSError as error:
        raise Misconfigured(f"Cannot read {file}: {error.strerror}.") from error
    if len(data) > most:
        raise Malformed(f"{file} is larger than evidence can be: {most} bytes.")
    try:
        return evidence_of(data)
    except TooNew:
        raise
    except Refusal as error:
        raise Malformed(
            f"{file} is no evidence of a validation: {error.message}",
            hint="Fetch one with: p2pool validation get EVIDENCE -o FILE. It is binary (CBOR), and"
            " may have been cut short.",
        ) from error


def _judge(signed: "SignedEvidence") -> None:
    """A `Refusal` unless all of it holds, and its conclusion follows."""
    from p2pool.wire.validation.evidence import verify_evidence

    verify_evidence(signed.evidence.transcript.challenge.pool, signed)


def _check_role(signed: "SignedEvidence", urls: Sequence[str], network: Address) -> None:
    """NotAllowed: the signer is no validator at the last final block, by any endpoint;
    ChainUnavailable: they do not say, or differ."""
    import trio

    from p2pool.drivers.chain.addresses import Addresses
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.rpc import Rpc
    from p2pool.drivers.chain.validator.roles import Role, holds_role

    challenge = signed.evidence.transcript.challenge
    at = attrs.evolve(Addresses(*[challenge.pool.contract] * 6), network=network)

    async def read() -> list[bool]:
        found = []
        for url in dict.fromkeys(urls):
            chain = PoolContracts(Rpc.to(challenge.pool.chain_id, [url]), at)
            held = await holds_role(chain, challenge.validator, Role.VALIDATOR, "finalized")
            found.append(not held.is_absent)
        return found

    answers = trio.run(read)
    if any(answer != answers[0] for answer in answers):
        raise ChainUnavailable(
            "The endpoints do not agree on whether the signer is a validator.",
            hint="One of them lags or lies: ask again, or name other endpoints.",
        )
    if not answers[0]:
        raise NotAllowed(
            f"{address_text(challenge.validator)}, which signed it, is no validator of the network"
            " at the last final block.",
            hint="Who held the role when it was signed, and lost it since, is not told from this.",
        )


def _told(signed: "SignedEvidence", *, checked: bool) -> dict[str, Any]:
    """The check for programs."""
    from p2pool.codec.validation import evidence_digest

    evidence = signed.evidence
    challenge, pool = evidence.transcript.challenge, evidence.transcript.challenge.pool
    return {
        "proven": True,
        "chain_id": pool.chain_id,
        "contract": address_text(pool.contract),
        "pool_id": pool.pool_id,
        "node_id": address_text(challenge.node_id),
        "validator": address_text(challenge.validator),
        "validator_role": True if checked else None,
        "conclusion": evidence.conclusion.value,
        "concluded_at_ms": evidence.concluded_at_ms,
        "evidence": evidence_digest(evidence).hex(),
        "faults": [
            {
                "fault": one.fault.value,
                "step": one.step,
                "device": one.device if one.device >= 0 else None,
                "proven": one.fault in _proven(),
            }
            for one in evidence.faults
        ],
        "devices": _devices(evidence),
        "word_alone": list(TRUSTED),
    }


def _devices(evidence: "Evidence") -> list[dict[str, Any]]:
    """What was claimed; and what was shown at least, which says nothing where it is not valid."""
    from p2pool.model.validation.evidence import Conclusion
    from p2pool.proofs.validation.bounds import shown

    devices = evidence.transcript.challenge.plan.devices
    claims = [
        {"uuid": one.uuid, "model": one.model, "memory_bytes": one.memory_bytes} for one in devices
    ]
    if evidence.conclusion is not Conclusion.VALID:
        return [{**claim, "shown": None} for claim in claims]
    rates = [
        {
            "int8_ops_per_s": one.int8_ops_per_s,
            "memory_bytes": one.memory_bytes,
            "memory_bytes_per_s": one.memory_bytes_per_s,
        }
        for one in shown(evidence.transcript)
    ]
    return [{**claim, "shown": rate} for claim, rate in zip(claims, rates, strict=True)]


def _proven() -> frozenset[Any]:
    from p2pool.model.validation.evidence import PROVEN

    return PROVEN


def _say(signed: "SignedEvidence", *, checked: bool) -> None:
    evidence = signed.evidence
    challenge, pool = evidence.transcript.challenge, evidence.transcript.challenge.pool
    node, validator = address_text(challenge.node_id), address_text(challenge.validator)
    click.echo(f"Checked: {validator} concludes that node {node} is {evidence.conclusion.value}.")
    click.echo(
        f"- It signed that, for pool {pool.pool_id} of {address_text(pool.contract)} on chain"
        f" {pool.chain_id}; the node's keys signed the answers in it."
    )
    for one in _devices(evidence):
        click.echo(f"- The node claimed {visible(one['model'])} ({visible(one['uuid'])}).")
        if (rate := one["shown"]) is not None:
            click.echo(
                f"  Shown at least: {rate['int8_ops_per_s'] / 1e12:.3g} int8 tera-operations/s,"
                f" {size(rate['memory_bytes'])} filled, {size(rate['memory_bytes_per_s'])}/s read."
            )
    for fault in evidence.faults:
        where = f"step {fault.step}" + (f", device {fault.device}" if fault.device >= 0 else "")
        kind = "proven by the node's own signature" if fault.fault in _proven() else "its word"
        click.echo(f"- Found: {fault.fault.value} in {where} ({kind}).")
    if not evidence.faults:
        click.echo("- Nothing speaks against the claim; conclusion and times follow from it.")
    click.echo("What remains the validator's word:")
    for sentence in TRUSTED:
        click.echo(f"- {sentence};")
    if checked:
        click.echo("- not its role: the chain gives it, at the last final block.")
    else:
        click.echo("- that it is a validator: --validator-role asks the chain.")
