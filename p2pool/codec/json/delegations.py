"""The JSON of delegations: inside a request, and as a file that a grantor hands to a delegate.

Inside a request or a log grant:

    {"delegation": {"pool_id": 1, "delegate": "0x...", "scope": "submit", "not_before_s": 1,
                    "not_after_s": 2, "quota": {"max_gpus": 4, "max_cpu_milli": 8000,
                    "max_replicas": 2, "max_priority": 60, "name_prefix": "team-a-"}},
     "signature": "0x..."}

A file names besides the pool, whole, and who gave it:

    {"pool": {"chain_id": 1, "contract": "0x...", "pool_id": 1}, "grantor": "0x...",
     "delegation": {...}, "signature": "0x..."}

Reading is strict and finds every problem at once. `quota` and its keys may be absent: no limit.
Nothing in a file is secret: it is of use only to whoever holds the delegate's key.
"""

import json
import re
from typing import Any

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.duplicates import repeated
from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.json.hex import _HEX, address_text, unhex
from p2pool.codec.json.reader import Reader, Rule
from p2pool.model import limits
from p2pool.model.access.delegations import (
    Delegation,
    DelegationFile,
    Quota,
    Scope,
    SignedDelegation,
)
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef

UINT64_MAX = 2**64 - 1
UINT256_MAX = 2**256 - 1
SCOPES = tuple(scope.name.lower() for scope in Scope)
QUOTA_KEYS = ("max_gpus", "max_cpu_milli", "max_replicas", "max_priority", "name_prefix")

_NAME_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{0,61}")
_FILE_HINT = "Ask the pool's manager for a new file: p2pool access grant."


def name_prefix_rule(text: str) -> str:
    """How the names of a delegate's tasks begin."""
    if _NAME_PREFIX.fullmatch(text):
        return ""
    return "begins no name: 1 to 62 of a-z, 0-9, '.', '_', '-', with a letter or digit first"


# --- writing ------------------------------------------------------------------------------------


def signed_delegation_json(signed: SignedDelegation) -> dict[str, Any]:
    """A signed delegation as plain JSON values."""
    return {
        "delegation": delegation_json(signed.delegation),
        "signature": "0x" + signed.signature.hex(),
    } | contract_json(signed.contract)


def contract_json(contract: Address | None) -> dict[str, Any]:
    """The contract account that is said to have signed, if it is one."""
    return {} if contract is None else {"contract": address_text(contract)}


def delegation_json(given: Delegation) -> dict[str, Any]:
    """A delegation as plain JSON values; a quota only if it has one."""
    plain: dict[str, Any] = {
        "pool_id": given.pool_id,
        "delegate": address_text(given.delegate),
        "scope": given.scope.name.lower(),
        "not_before_s": given.not_before_s,
        "not_after_s": given.not_after_s,
    }
    if given.quota is not None:
        plain["quota"] = quota_json(given.quota)
    return plain


def quota_json(quota: Quota) -> dict[str, Any]:
    """The limits that a quota sets, as plain JSON values."""
    limited = {key: getattr(quota, key) for key in QUOTA_KEYS}
    return {key: value for key, value in limited.items() if value is not None}


def delegation_file_json(file: DelegationFile) -> dict[str, Any]:
    """A delegation file as plain JSON values."""
    pool = file.pool
    return {
        "pool": {
            "chain_id": pool.chain_id,
            "contract": address_text(pool.contract),
            "pool_id": pool.pool_id,
        },
        "grantor": address_text(file.grantor),
    } | signed_delegation_json(file.signed)


# --- reading ------------------------------------------------------------------------------------


def read_delegation_file(body: bytes) -> DelegationFile:
    """The delegation in a file; `Malformed` with all `problems`. Who signed it, and whether it is
    in force, is for `wire.typed_data.check_delegation_file`."""
    problems: list[str] = []
    r = Reader(_file_value(body), "file", problems)
    pool = r.table("pool", _pool, None)
    grantor = Address(hex_bytes(r, "grantor", ADDRESS_BYTES))
    signed = signed_delegation(r)
    if pool is None:
        r.missing("pool")
    r.finish()
    if pool is not None and signed is not None and pool.pool_id != signed.delegation.pool_id:
        r.problem("delegation.pool_id", f"is not that of its pool, {pool.pool_id}")
    if problems:
        raise Malformed(
            f"The delegation file is not good: {'; '.join(problems)}.",
            hint=_FILE_HINT,
            problems=tuple(problems),
        )
    assert pool is not None
    assert signed is not None
    return DelegationFile(pool, grantor, signed)


def _file_value(body: bytes) -> Any:
    """The JSON in a file, also where a command wrote it into its envelope."""
    if not body.strip():
        raise Malformed("The delegation file is empty.", hint=_FILE_HINT)
    most = limits.DELEGATION_FILE_MAX_BYTES
    if len(body) > most:
        raise Malformed(f"A delegation file has {most} bytes at most.", hint=_FILE_HINT)
    try:
        text = body.decode("utf-8")
        if too_deep(text):
            raise Malformed("The delegation file is nested too deeply.", hint=_FILE_HINT)
        return unwrapped(json.loads(text, object_pairs_hook=_once))
    except ValueError as error:  # Of the text, or of its encoding.
        raise Malformed(f"The delegation file is not JSON: {error}", hint=_FILE_HINT) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = min(repeated(key for key, _ in pairs))
        raise Malformed(f"The delegation file has the key {twice[:64]!r} twice.", hint=_FILE_HINT)
    return made


def _pool(r: Reader) -> PoolRef:
    return PoolRef(
        r.number("chain_id", None, 0, UINT256_MAX),
        Address(hex_bytes(r, "contract", ADDRESS_BYTES)),
        r.number("pool_id", None, 0, UINT256_MAX),
    )


def signed_delegation(r: Reader) -> SignedDelegation | None:
    """The keys `delegation` and `signature` of a table; None where something is missing."""
    given = r.table("delegation", _delegation, None)
    if given is None:
        r.missing("delegation")
    signature, contract = account_signature(r), contract_account(r)
    return SignedDelegation(given, signature, contract) if given is not None else None


def _delegation(r: Reader) -> Delegation | None:
    return Delegation(
        pool_id=r.number("pool_id", None, 0, UINT256_MAX),
        delegate=Address(hex_bytes(r, "delegate", ADDRESS_BYTES)),
        scope=Scope[r.word("scope", SCOPES).upper()],
        not_before_s=r.number("not_before_s", None, 0, UINT64_MAX),
        not_after_s=r.number("not_after_s", None, 0, UINT64_MAX),
        quota=r.table("quota", _quota, None),
    )


def _quota(r: Reader) -> Quota:
    """A quota; one that limits nothing is a mistake of whoever wrote it."""
    quota = Quota(
        max_gpus=_most(r, "max_gpus", 0),
        max_cpu_milli=_most(r, "max_cpu_milli", 1),
        max_replicas=_most(r, "max_replicas", 1),
        max_priority=_most(r, "max_priority", 0, limits.PRIORITY_MAX),
        name_prefix=r.text("name_prefix", "", rule=name_prefix_rule) or None,
    )
    if not r.broken and not r.left and quota == Quota():
        r.problem("", "limits nothing: leave it out instead")
    return quota


def _most(r: Reader, key: str, least: int, most: int = limits.QUOTA_NUMBER_MAX) -> int | None:
    """A limit, None where it is absent."""
    if key not in r.left:
        r.known.append(key)
        return None
    return r.number(key, None, least, most)


# --- shared with `requests` ---------------------------------------------------------------------


def account_signature(r: Reader) -> bytes:
    """A signature of bounded length: contract accounts have long ones."""

    def rule(text: str) -> str:
        if (found := _HEX.fullmatch(text)) is None or not found[1]:
            return "is not a signature in hex"
        most = limits.ACCOUNT_SIGNATURE_MAX_BYTES
        return f"is longer than {most} bytes" if len(found[1]) > 2 * most else ""

    found = _HEX.fullmatch(r.text("signature", rule=rule))
    return bytes.fromhex(found[1]) if found else b""


def contract_account(r: Reader) -> Address | None:
    """The contract that signed, None where a key did."""
    if "contract" not in r.left:
        r.known.append("contract")
        return None
    return Address(hex_bytes(r, "contract", ADDRESS_BYTES))


def hex_bytes(r: Reader, key: str, size: int) -> bytes:
    """Bytes of a fixed length, in hex."""
    rule: Rule = lambda text: (  # noqa: E731
        "" if unhex(text, size) is not None else f"is not {size} bytes in hex"
    )
    return unhex(r.text(key, rule=rule), size) or b""
