"""What accounts sign: requests, delegations and log grants as EIP-712 typed data.

A wallet shows every field in words; the specification is inside as text, so users sign exactly what
they see. Each type names the pool, and the domain names chain and contract. Recovery yields the
signer, nothing more: whether that account *may* is a question for `core.fsm.permissions`. A
contract account has no key to recover: it stands here as it is named, and what to ask the chain
about it is in `contract_signatures`.

Verification costs about a millisecond and happens once, where bytes enter; replay of the log and
snapshots rely on that check.
Source: docs/design/tasks.md, "Requests".
"""

from typing import Any

from p2pool.codec.cbor.structs import decode_struct, encode_struct, lowest_level
from p2pool.codec.digests import task_id as _task_id
from p2pool.codec.json.delegations import name_prefix_rule
from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.access.amounts import cpus_text
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    SignedDelegation,
)
from p2pool.model.access.grants import LogGrant, SignedGrant
from p2pool.model.access.requests import SignedRequest, Signers, TaskRequest
from p2pool.model.access.verdicts import ContractSignature
from p2pool.model.errors import BadSignature, Malformed, NotAllowed, NotForUs, Stale
from p2pool.model.ids import DIGEST_BYTES, Address, PoolRef, TaskId
from p2pool.model.messages.task_streams import LogsOpened
from p2pool.wire import eip712
from p2pool.wire.evm.key_signer import AnySigner, signer_of

_REQUEST: eip712.Fields = (
    ("string", "action"),
    ("uint256", "poolId"),
    ("string", "target"),
    ("string", "specJson"),
    ("bytes32", "requestId"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
)
_DELEGATION: eip712.Fields = (
    ("uint256", "poolId"),
    ("address", "delegate"),
    ("string", "scope"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
)
_LIMITED_DELEGATION: eip712.Fields = (
    ("uint256", "poolId"),
    ("address", "delegate"),
    ("string", "scope"),
    ("string", "maxGpus"),
    ("string", "maxCpus"),
    ("string", "maxReplicas"),
    ("string", "maxPriority"),
    ("string", "namePrefix"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
)
"""The type of a delegation with a quota. Its fields are part of what is hashed, so a signature over
one form never holds for the other: nobody can take a quota off, or put one on."""
_GRANT: eip712.Fields = (
    ("uint256", "poolId"),
    ("string", "task"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
)


# --- typed data ---------------------------------------------------------------------------------


def request_typed_data(pool: PoolRef, request: TaskRequest) -> dict[str, Any]:
    """A request in the form that wallets take (`eth_signTypedData_v4`)."""
    _check_pool(pool, request.pool_id)
    _check_span(request.not_before_s, request.not_after_s, limits.REQUEST_LIFETIME_MAX_S)
    if len(request.request_id) != DIGEST_BYTES:
        raise Malformed(f"A request id has {DIGEST_BYTES} bytes.")
    data = {
        "action": request.action.value,
        "poolId": request.pool_id,
        "target": request.target,
        "specJson": request.spec_json,
        "requestId": request.request_id,
        "notBefore": request.not_before_s,
        "notAfter": request.not_after_s,
    }
    return eip712.full_message(pool, "TaskRequest", _REQUEST, data)


def delegation_typed_data(pool: PoolRef, delegation: Delegation) -> dict[str, Any]:
    """A delegation in the form that wallets take: its scope is a word, and so is each limit of a
    quota, also one that is not set. Without a quota it is the form that older versions know."""
    _check_pool(pool, delegation.pool_id)
    _check_span(delegation.not_before_s, delegation.not_after_s, None)
    data = {
        "poolId": delegation.pool_id,
        "delegate": address_text(delegation.delegate),
        "scope": delegation.scope.name.lower(),
        "notBefore": delegation.not_before_s,
        "notAfter": delegation.not_after_s,
    }
    if delegation.quota is None:
        return eip712.full_message(pool, "Delegation", _DELEGATION, data)
    limited = data | quota_words(delegation.quota)
    return eip712.full_message(pool, "Delegation", _LIMITED_DELEGATION, limited)


def quota_words(quota: Quota) -> dict[str, str]:
    """The limits of a quota as a wallet shows them, by their names there. Two quotas never have
    the same words: no name begins with a space inside."""
    prefix = quota.name_prefix
    if prefix is not None and (wrong := name_prefix_rule(prefix)):
        raise Malformed(f"The quota's name prefix {wrong}.")
    cpus = None if quota.max_cpu_milli is None else cpus_text(quota.max_cpu_milli)
    return {
        "maxGpus": _most(quota.max_gpus),
        "maxCpus": _most(cpus),
        "maxReplicas": _most(quota.max_replicas),
        "maxPriority": _most(quota.max_priority),
        "namePrefix": "any name" if prefix is None else prefix,
    }


def _most(most: int | str | None) -> str:
    return "no limit" if most is None else str(most)


def grant_typed_data(pool: PoolRef, grant: LogGrant) -> dict[str, Any]:
    """A log grant (`ReadLogs`) in the form that wallets take."""
    _check_pool(pool, grant.pool_id)
    _check_span(grant.not_before_s, grant.not_after_s, limits.GRANT_LIFETIME_MAX_S)
    data = {
        "poolId": grant.pool_id,
        "task": grant.task,
        "notBefore": grant.not_before_s,
        "notAfter": grant.not_after_s,
    }
    return eip712.full_message(pool, "ReadLogs", _GRANT, data)


# --- signing ------------------------------------------------------------------------------------


def sign_request(
    pool: PoolRef,
    account: AnySigner,
    request: TaskRequest,
    delegation: SignedDelegation | None = None,
) -> SignedRequest:
    """The request signed by an account, for itself or under a delegation to it."""
    return SignedRequest(request, _sign(account, request_typed_data(pool, request)), delegation)


def sign_delegation(pool: PoolRef, account: AnySigner, delegation: Delegation) -> SignedDelegation:
    """The delegation, signed by the account that gives it."""
    return SignedDelegation(delegation, _sign(account, delegation_typed_data(pool, delegation)))


def sign_grant(
    pool: PoolRef,
    account: AnySigner,
    grant: LogGrant,
    delegation: SignedDelegation | None = None,
) -> SignedGrant:
    """The log grant signed by an account, for itself or under a delegation to it."""
    return SignedGrant(grant, _sign(account, grant_typed_data(pool, grant)), delegation)


# --- who signed ---------------------------------------------------------------------------------


def recover_request(pool: PoolRef, signed: SignedRequest) -> Address:
    """The account that signed a request, with a valid delegation (if any) made out to it.

    Raises `NotForUs` (another pool), `Malformed` (times), `BadSignature`, `NotAllowed` (a
    delegation to somebody else). A request altered after signing recovers to another account.
    """
    return recover_signers(pool, signed).signer


def recover_signers(pool: PoolRef, signed: SignedRequest | SignedGrant) -> Signers:
    """A request's or grant's signer and, if any, the delegator; raises as `recover_request`. Of a
    contract account this is the claim alone."""
    signer = _signer(_typed_data(pool, signed), signed.signature, signed.contract)
    if signed.delegation is None:
        return Signers(signer)
    if signed.delegation.delegation.delegate != signer:
        raise NotAllowed(
            "The delegation names another account than the one that signed.",
            hint="Or the request was changed after it was signed.",
        )
    return Signers(signer, recover_delegation(pool, signed.delegation))


def recover_delegation(pool: PoolRef, signed: SignedDelegation) -> Address:
    """The account that gave a delegation; raises as `recover_request`."""
    message = delegation_typed_data(pool, signed.delegation)
    return _signer(message, signed.signature, signed.contract)


def contract_signatures(
    pool: PoolRef, signed: SignedRequest | SignedGrant | SignedDelegation
) -> tuple[ContractSignature, ...]:
    """What the chain has to say yes to, all of it, before the signers of this count as such; empty
    where keys alone signed. Raises as `recover_request`."""
    found: tuple[ContractSignature, ...] = ()
    if signed.contract is not None:
        digest = eip712.typed_digest(_typed_data(pool, signed))
        found = (ContractSignature(signed.contract, digest, signed.signature),)
    under = None if isinstance(signed, SignedDelegation) else signed.delegation
    return found if under is None else (*found, *contract_signatures(pool, under))


def check_delegation_file(file: DelegationFile) -> None:
    """`BadSignature` unless the account that a file names gave the delegation in it."""
    if recover_delegation(file.pool, file.signed) != file.grantor:
        raise BadSignature(
            f"The delegation was not signed by {address_text(file.grantor)}, as its file says.",
            hint="It was changed after it was signed: ask its grantor for a new one.",
        )


def check_times(signed: SignedRequest | SignedGrant | SignedDelegation, now_s: int) -> None:
    """`Stale` unless it (and the delegation it relies on) is in force at `now_s`, Unix seconds."""
    if isinstance(signed, SignedDelegation):
        what: TaskRequest | LogGrant | Delegation = signed.delegation
    else:
        what = signed.request if isinstance(signed, SignedRequest) else signed.grant
        if signed.delegation is not None:
            check_times(signed.delegation, now_s)
    skew_s = limits.CLOCK_SKEW_MAX_MS // 1000
    name = type(what).__name__
    if what.not_before_s > now_s + skew_s:
        raise Stale(
            f"The {name} is in force only in {what.not_before_s - now_s} s.",
            hint="Compare the clocks of the two machines.",
        )
    if what.not_after_s < now_s:
        raise Stale(f"The {name} expired {now_s - what.not_after_s} s ago.", hint="Sign it again.")


def task_id(pool: PoolRef, signed: SignedRequest) -> TaskId:
    """The id of the task that a signed request creates (pure: `codec.digests.task_id`)."""
    return _task_id(pool, signed.request)


# --- grants inside log streams ------------------------------------------------------------------


def grant_of(opened: LogsOpened) -> SignedGrant:
    """The grant in the first frame of a log stream; `Malformed` if it has none."""
    grant = LogGrant(
        opened.grant_pool_id,
        opened.grant_task,
        opened.grant_not_before_s,
        opened.grant_not_after_s,
    )
    delegation = opened.grant_delegation
    given = decode_struct(SignedDelegation, delegation) if delegation else None
    return SignedGrant(grant, opened.grant_signature, given, opened.grant_contract)


def delegation_bytes(delegation: SignedDelegation | None) -> bytes:
    """A delegation as `LogsOpened.grant_delegation` carries it."""
    return encode_struct(delegation, lowest_level(delegation)) if delegation else b""


# --- shared -------------------------------------------------------------------------------------


def _typed_data(
    pool: PoolRef, signed: SignedRequest | SignedGrant | SignedDelegation
) -> dict[str, Any]:
    if isinstance(signed, SignedRequest):
        return request_typed_data(pool, signed.request)
    if isinstance(signed, SignedGrant):
        return grant_typed_data(pool, signed.grant)
    return delegation_typed_data(pool, signed.delegation)


def _signer(message: dict[str, Any], signature: bytes, contract: Address | None) -> Address:
    """The account whose key signed, or the contract that is said to have."""
    if contract is None:
        return eip712.recover(eip712.typed_digest(message), signature)
    if not any(contract):
        raise BadSignature("The zero address is no contract.", hint="Name the one that signed.")
    return contract


def _sign(account: AnySigner, message: dict[str, Any]) -> bytes:
    return signer_of(account).sign_typed(message)


def _check_pool(pool: PoolRef, pool_id: int) -> None:
    if pool_id != pool.pool_id:
        raise NotForUs(f"Made out to pool {pool_id}; this is pool {pool.pool_id}.")


def _check_span(not_before_s: int, not_after_s: int, most_s: int | None) -> None:
    """Times in order and in range, and a span of `most_s` at most."""
    if not 0 <= not_before_s < not_after_s <= eip712.UINT64_MAX:
        raise Malformed("Its end does not come after its beginning.")
    if most_s is not None and not_after_s - not_before_s > most_s:
        raise Malformed(f"It is in force for longer than {most_s} s.")
