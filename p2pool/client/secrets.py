"""Turns a submitter's secrets into what its specification says of them, and the blob beside it.

Intuition: everything is encrypted here, before a byte leaves this process. The agent that takes the
request gets the blob, and can open it only if the submitter sealed the key to it.

Invariants: the key is sealed only to nodes whose binding proves their peer key by two signatures,
checked here: an agent's word for it counts for nothing. Which nodes belong to the pool is taken
from `members` where the caller has read the chain; else it is the agent's word, and what a policy
names is what keeps strangers out.
Source: docs/design/secrets.md, "Who a submitter seals to".
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import attrs

from p2pool.codec.digests import digest
from p2pool.codec.spec.secrets import contradictions_in, secret_name_rule
from p2pool.model import limits
from p2pool.model.errors import BadSpec, Refusal
from p2pool.model.ids import (
    ADDRESS_BYTES,
    ETH_SIGNATURE_BYTES,
    PEER_KEY_BYTES,
    SIGNATURE_BYTES,
    Address,
    NodeId,
    PeerKey,
    PoolRef,
)
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.tasks.secrets import (
    ANYONE,
    NamedValue,
    RecipientPolicy,
    RegistryAuth,
    SecretContents,
    SecretOwner,
    SecretUse,
    SecretValue,
    TaskSecrets,
)
from p2pool.wire import sealed_box
from p2pool.wire.binding import check_binding


@attrs.frozen
class SealedSecrets:
    """What to put under `secrets` of a specification, and the blob to send with the request.
    `recipients`: the nodes that can open it at once."""

    secrets: TaskSecrets
    blob: bytes = attrs.field(repr=False)
    recipients: tuple[NodeId, ...] = ()


@attrs.frozen
class Candidate:
    """A node that secrets may be sealed to, with its provider and the binding of its keys."""

    node_id: NodeId
    provider: Address
    binding: PeerBinding


def candidates_of(rows: Iterable[Mapping[str, Any]], pool: PoolRef) -> tuple[Candidate, ...]:
    """The candidates in an agent's answer (`AgentClient.bindings`): eligible nodes, whose bindings
    nobody has checked yet. What cannot be read is left out."""
    found: list[Candidate] = []
    for row in rows:
        try:
            if row["eligible"] is True:
                found.append(_candidate(row, pool))
        except (KeyError, ValueError, AttributeError, TypeError):
            continue
    return tuple(found)


def _candidate(row: Mapping[str, Any], pool: PoolRef) -> Candidate:
    node_id = NodeId(_bytes(row["node_id"], ADDRESS_BYTES))
    binding = PeerBinding(
        chain_id=pool.chain_id,
        contract=pool.contract,
        pool_id=pool.pool_id,
        node_id=node_id,
        peer_key=PeerKey(_bytes(row["peer_key"], PEER_KEY_BYTES)),
        not_before_s=int(row["not_before_s"]),
        not_after_s=int(row["not_after_s"]),
        node_signature=_bytes(row["node_signature"], ETH_SIGNATURE_BYTES),
        peer_signature=_bytes(row["peer_signature"], SIGNATURE_BYTES),
    )
    return Candidate(node_id, Address(_bytes(row["provider"], ADDRESS_BYTES)), binding)


def _bytes(text: str, length: int) -> bytes:
    found = bytes.fromhex(text.removeprefix("0x"))
    if len(found) != length:
        raise ValueError(f"{len(found)} bytes instead of {length}")
    return found


def check_values(values: Sequence[SecretValue], auth: RegistryAuth | None) -> None:
    """`BadSpec` with every problem of the values themselves: names, sizes, what names one twice."""
    named = [(one.name[:64], secret_name_rule(one.name)) for one in values]
    problems = [f"secret {name!r} {wrong}" for name, wrong in named if wrong]
    if len(values) > limits.SECRETS_MAX:
        problems.append(f"there are {len(values)} secrets, {limits.SECRETS_MAX} at most")
    for one in values:
        if len(one.value) > limits.SECRET_MAX_BYTES:
            size = f"has {len(one.value)} bytes, {limits.SECRET_MAX_BYTES} at most"
            problems.append(f"secret {one.name[:64]!r} {size}")
        if one.variable is not None and b"\0" in one.value:
            problems.append(f"secret {one.name[:64]!r} has a zero byte: no variable can hold it")
    total = sum(len(one.value) for one in values)
    if total > limits.SECRETS_TOTAL_MAX_BYTES:
        problems.append(f"all secrets have {total} bytes, {limits.SECRETS_TOTAL_MAX_BYTES} at most")
    for text in (auth.username, auth.password) if auth is not None else ():
        if len(text.encode()) > limits.REGISTRY_AUTH_MAX_BYTES or not text:
            most = limits.REGISTRY_AUTH_MAX_BYTES
            problems.append(f"the registry's user name and password have 1 to {most} bytes each")
            break
    if not problems:
        problems += contradictions_in(_described(values, auth, "0" * 64, 1, ANYONE))
    if problems:
        told = "; ".join(problems)
        raise BadSpec(f"The secrets are not good: {told}.", problems=tuple(problems))


def recipients_of(
    candidates: Iterable[Candidate],
    policy: RecipientPolicy,
    pool: PoolRef,
    now_s: int,
    members: Container[NodeId] | None = None,
) -> tuple[tuple[NodeId, PeerKey], ...]:
    """The nodes to seal to, at most `limits.SECRET_RECIPIENTS_MAX`: those that the policy allows,
    whose binding is good, and that the chain has where `members` were read from it."""
    found: dict[NodeId, PeerKey] = {}
    for one in candidates:
        allowed = policy.permits(one.node_id, one.provider)
        if not allowed or (members is not None and one.node_id not in members):
            continue
        try:
            check_binding(one.binding, pool, None, now_s)
        except Refusal:
            continue  # Whoever told us of it lies, or our clock is wrong: it gets no key.
        if one.binding.node_id == one.node_id:
            found[one.node_id] = one.binding.peer_key
        if len(found) >= limits.SECRET_RECIPIENTS_MAX:
            break
    return tuple(found.items())


def seal(
    values: Sequence[SecretValue],
    owner: SecretOwner,
    recipients: Sequence[tuple[NodeId, PeerKey]],
    policy: RecipientPolicy = ANYONE,
    auth: RegistryAuth | None = None,
) -> SealedSecrets:
    """Encrypt the values for one request; `BadSpec` if they are not good, or nobody could open
    them."""
    check_values(values, auth)
    if not recipients:
        raise BadSpec(
            "No node of the pool may open these secrets.",
            hint="See which nodes there are: p2pool node ls. A policy of recipients may name none"
            " of them.",
        )
    contents = SecretContents(
        values=tuple(NamedValue(one.name, one.value) for one in values),
        username=auth.username if auth is not None else "",
        password=auth.password if auth is not None else "",
    )
    blob = sealed_box.encrypt(contents, owner, sealed_box.new_data_key(), recipients)
    data = sealed_box.blob_bytes(blob)
    secrets = _described(values, auth, digest(data).hex(), len(data), policy)
    return SealedSecrets(secrets, data, tuple(node_id for node_id, _ in recipients))


def _described(
    values: Sequence[SecretValue],
    auth: RegistryAuth | None,
    digest_hex: str,
    size_bytes: int,
    policy: RecipientPolicy,
) -> TaskSecrets:
    return TaskSecrets(
        uses=tuple(SecretUse(one.name, one.file, one.variable or "") for one in values),
        digest=digest_hex,
        size_bytes=size_bytes,
        recipients=policy,
        registry_auth=auth is not None,
    )


def with_secrets(specification: dict[str, Any], sealed: SealedSecrets) -> dict[str, Any]:
    """A specification in the user's form, with its secrets in it."""
    return {**specification, "secrets": secrets_table(sealed.secrets)}


def secrets_table(secrets: TaskSecrets) -> dict[str, Any]:
    """Secrets as a specification, or a request to set them, names them."""
    uses = []
    for use in secrets.uses:
        variable = {"variable": use.variable} if use.variable else {}
        uses.append({"name": use.name, "file": use.file, **variable})
    return {
        "digest": secrets.digest,
        "size_bytes": secrets.size_bytes,
        "uses": uses,
        "registry_auth": secrets.registry_auth,
        "recipients": {
            "nodes": list(secrets.recipients.nodes),
            "providers": list(secrets.recipients.providers),
        },
    }
