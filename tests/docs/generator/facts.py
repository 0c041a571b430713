"""Facts of the protocol that are constants of the code, as tables of `docs/PROTOCOL.md`."""

from collections import Counter
from typing import Any

import attrs

from p2pool.core.knowledge.leadership import leader_certificate
from p2pool.drivers.chain import contracts
from p2pool.drivers.chain.abi import Function, artifact, function
from p2pool.drivers.net.mesh import PoolRouter
from p2pool.model import errors, limits
from p2pool.model.access.delegations import Delegation, Quota, Scope
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address
from p2pool.wire.binding import binding_typed_data, make_binding
from p2pool.wire.typed_data import (
    delegation_typed_data,
    grant_typed_data,
    request_typed_data,
)
from tests.docs.generator.markdown import sentence, table
from tests.wire.samples import ACCOUNT, KEY, NOW_S, POOL

SHOWN = (
    "STREAM_FRAME_MAX_BYTES", "GOSSIP_MESSAGE_MAX_BYTES", "SEALED_SIGNATURE_MAX_BYTES",
    "CBOR_MAX_DEPTH", "EXT_FIELDS_MAX", "TEXT_MAX_BYTES", "NAME_MAX_BYTES", "ENTRY_MAX_BYTES",
    "APPEND_BATCH_MAX_ENTRIES", "APPEND_BATCH_MAX_BYTES", "SNAPSHOT_CHUNK_BYTES",
    "SNAPSHOT_MAX_BYTES", "CLAIMS_MAX_BYTES", "CHAIN_LINKS_MAX", "GUEST_CHAIN_LINKS_MAX",
    "CONNECTIONS_MAX", "STREAMS_PER_PEER_MAX", "LOG_STREAMS_PER_AGENT_MAX", "GUEST_FRAMES_PER_S",
    "GUEST_FRAMES_BURST", "GUEST_PROOFS_PER_S", "GUESTS_PROOFS_PER_S", "GUESTS_KNOWN_MAX",
    "FRAME_ITEMS_MAX", "GOSSIP_ITEMS_MAX", "HELLO_MAX_BYTES", "GOSSIP_PER_ORIGIN_PER_S",
    "GOSSIP_PER_ORIGIN_BURST", "GOSSIP_PER_FORWARDER_PER_S", "FORWARDS_PER_PEER_MAX",
    "CLOCK_SKEW_MAX_MS", "HELLO_TIMEOUT_MS", "DIAL_TIMEOUT_MS", "STREAM_WRITE_TIMEOUT_MS",
    "BINDING_LIFETIME_MAX_S", "BINDING_FUTURE_MAX_S", "REQUEST_LIFETIME_MAX_S",
    "GRANT_LIFETIME_MAX_S", "CERTIFICATE_LIFETIME_MS", "CERTIFY_INTERVAL_MS",
    "HEARTBEAT_MIN_INTERVAL_MS", "HEARTBEAT_CHANGE_INTERVAL_MS", "HEARTBEAT_MEMBERS_PER_SECOND",
    "ANNOUNCE_INTERVAL_MS", "PROBE_INTERVAL_MS", "PROBE_TIMEOUT_MS", "LOG_PULSE_MS",
)  # fmt: skip
"""The limits that another implementation meets."""

ROUTER = (
    "protocols", "degree", "degree_low", "degree_high", "heartbeat_interval", "gossip_factor",
    "prune_back_off", "unsubscribe_back_off", "graft_flood_threshold",
    "max_ihave_messages_per_second", "max_iwant_requests_per_second",
    "adaptive_gossip_enabled", "eclipse_protection_enabled",
    "spam_protection_enabled", "do_px", "scorer",
)  # fmt: skip

READS = (
    ("ComputePool", "getComputePool", "creator, manager, status, and the data URI"),
    ("ComputePool", "getComputePoolNodes", "the members"),
    ("ComputeRegistry", contracts.GET_NODE, "a member's provider; reverts where there is none"),
    ("ComputeRegistry", "getWhitelistStatus", "whether the provider is whitelisted"),
    ("ComputePool", "isProviderBlacklistedFromPool", "whether the pool has banned the provider"),
    ("ComputePool", "isNodeBlacklistedFromPool", "whether the pool has banned the node"),
    ("PoolRoot", "getRecord", "root record and bootstrap addresses; no code there: no record"),
)
"""What a roster is made of. A test compares this with what the code reads."""


def bounds() -> str:
    """Limits that both sides have to know."""
    rows = ((f"`{name}`", getattr(limits, name), human(name)) for name in SHOWN)
    return table(("limit", "value", ""), rows)


def human(name: str) -> str:
    """A limit's value as people write it; empty where the number says it all."""
    value = getattr(limits, name)
    if name.endswith("_BYTES"):
        for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value >= size and value % size == 0:
                return f"{value // size} {unit}"
        return f"{value} bytes"
    for ending, factor in (("_MS", 1), ("_S", 1000)):
        if name.endswith(ending) and not name.endswith("_PER_S"):
            return _time(value * factor)
    return ""


def _time(value_ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if value_ms >= size and value_ms % size == 0:
            return f"{value_ms // size} {unit}"
    return f"{value_ms} ms"


def gossipsub() -> str:
    """The router's settings, and those of pubsub that a peer can notice."""
    router = PoolRouter(Counter())
    rows: list[tuple[str, Any]] = [(f"`{name}`", getattr(router, name)) for name in ROUTER]
    cache = router.mcache
    rows += [("`gossip_window`", cache.window_size), ("`gossip_history`", cache.history_size)]
    return table(("parameter", "value"), [(name, _shown(value)) for name, value in rows])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(f"`{one}`" for one in value)
    return "none" if value is None else f"{value:g}"


def typed_data() -> str:
    """The EIP-712 types of all that accounts and nodes sign, as their encoded type strings."""
    rows = []
    for data in typed_samples().values():
        primary = data["primaryType"]
        members = ", ".join(f"{m['type']} {m['name']}" for m in data["types"][primary])
        rows.append(f"{primary}({members.replace(', ', ',')})")
    domain = next(iter(typed_samples().values()))
    members = ",".join(f"{m['type']} {m['name']}" for m in domain["types"]["EIP712Domain"])
    named = domain["domain"]
    first = f"EIP712Domain({members})\n    name {named['name']!r}, version {named['version']!r}"
    return "```\n" + "\n".join([first.replace("'", '"'), *rows]) + "\n```\n"


def request() -> TaskRequest:
    """A submission as it would be signed."""
    return TaskRequest(
        action=Action.SUBMIT,
        pool_id=POOL.pool_id,
        target="",
        spec_json='{"image":"busybox","name":"a"}',
        request_id=b"r" * 32,
        not_before_s=NOW_S,
        not_after_s=NOW_S + 600,
    )


def delegation() -> Delegation:
    """A delegation to another account."""
    return Delegation(
        pool_id=POOL.pool_id,
        delegate=Address(b"d" * 20),
        scope=Scope.SUBMIT,
        not_before_s=NOW_S,
        not_after_s=NOW_S + 86_400,
    )


def limited_delegation() -> Delegation:
    """The same with a quota that sets some limits and leaves others open."""
    quota = Quota(max_gpus=4, max_cpu_milli=2500, name_prefix="team-a-")
    return attrs.evolve(delegation(), quota=quota)


def grant() -> LogGrant:
    """A grant to read a task's log lines."""
    return LogGrant(POOL.pool_id, "ab" * 16, NOW_S, NOW_S + 600)


def typed_samples() -> dict[str, dict[str, Any]]:
    """One of each type of typed data, by its name."""
    binding = make_binding(POOL, ACCOUNT, KEY, NOW_S, 3600)
    found = (
        binding_typed_data(POOL, binding),
        request_typed_data(POOL, request()),
        delegation_typed_data(POOL, delegation()),
        grant_typed_data(POOL, grant()),
    )
    samples = {data["primaryType"]: data for data in found}
    limited = delegation_typed_data(POOL, limited_delegation())
    return samples | {"Delegation with a quota": limited}


def invite() -> Invite:
    """An invite of the sample's node, not yet signed."""
    return Invite(
        domain_id=3,
        pool_id=POOL.pool_id,
        node_id=bytes.fromhex(ACCOUNT.address[2:]),  # type: ignore[arg-type]
        nonce=42,
        expiration_s=NOW_S + 3600,
        signature=b"",
    )


def chain_reads() -> str:
    """The functions that a roster is read by."""
    rows = []
    for contract, name, what in READS:
        found: Function = function(contract, name)
        rows.append((contract, f"`{found.signature}`", what))
    return table(("contract", "function", "what it tells"), rows)


def chain_events() -> str:
    """The pool contract's events; those that name a pool have it as their first topic."""
    rows = []
    for item in (*artifact("ComputePool")["abi"], *artifact("PoolRoot")["abi"]):
        if item["type"] == "event" and item["name"].startswith(("ComputePool", "PoolRecord")):
            fields = ", ".join(
                f"{p['type']} {'indexed ' if p['indexed'] else ''}{p['name']}"
                for p in item["inputs"]
            )
            rows.append((f"`{item['name']}`", fields))
    return table(("event", "arguments"), sorted(rows))


def known_errors() -> list[type[P2poolError]]:
    """All errors with a code of their own that a peer or client may be told."""
    found = [cls for cls in vars(errors).values() if _is_error(cls)]
    return [*found, leader_certificate.UnknownCommittee]


def _is_error(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, P2poolError)


def error_codes() -> str:
    """The codes of errors, as a forwarded request or a log stream ends with them."""
    kinds = (errors.Refusal, errors.Unavailable, errors.Misconfigured)
    rows = []
    for cls in known_errors():
        kind = next((k.__name__ for k in kinds if issubclass(cls, k)), "")
        rows.append((f"`{cls.code}`", kind, sentence(cls.__doc__)))
    return table(("code", "kind", "meaning"), rows)
