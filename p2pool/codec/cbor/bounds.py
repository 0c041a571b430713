"""How long each field may be: the bounds that a field's type alone does not give.

A field is named `Class.field`. `EXACT_BYTES` and `MAX_BYTES` are for byte strings, `MAX_TEXT` for
text (in UTF-8 bytes), `MAX_ITEMS` for tuples (for a tuple of byte strings or texts, the bound of
each item stands in the other tables under the same name). Identities (`NodeId`, `Digest`, ...)
have the one length of their type. What a message can reach stands here, which a test asserts; the
defaults are for records that only this machine wrote.
"""

from p2pool.model import ids, limits

TYPE_BYTES = {
    "Address": ids.ADDRESS_BYTES,
    "NodeId": ids.ADDRESS_BYTES,
    "PeerKey": ids.PEER_KEY_BYTES,
    "StoreId": ids.STORE_ID_BYTES,
    "TaskId": ids.TASK_ID_BYTES,
    "Digest": ids.DIGEST_BYTES,
}

EXACT_BYTES = {
    "PeerBinding.node_signature": ids.ETH_SIGNATURE_BYTES,
    "PeerBinding.peer_signature": ids.SIGNATURE_BYTES,
    "TaskRequest.request_id": ids.DIGEST_BYTES,
}

# Accounts sign with 65 bytes; a manager that is a contract takes longer ones (ERC-1271).
MAX_BYTES = {
    "Hello.challenge": limits.TEXT_MAX_BYTES,
    "Invite.signature": limits.ACCOUNT_SIGNATURE_MAX_BYTES,
    "SignedDelegation.signature": limits.ACCOUNT_SIGNATURE_MAX_BYTES,
    "SignedRequest.signature": limits.ACCOUNT_SIGNATURE_MAX_BYTES,
    "SignedGrant.signature": limits.ACCOUNT_SIGNATURE_MAX_BYTES,
    "LogsOpened.grant_signature": limits.ACCOUNT_SIGNATURE_MAX_BYTES,
    "LogsOpened.grant_delegation": limits.ACCOUNT_SIGNATURE_MAX_BYTES + limits.TEXT_MAX_BYTES,
    "LogChunk.data": limits.LOG_LINE_MAX_BYTES,
    "StoreSeenAnswered.shown": limits.GOSSIP_MESSAGE_MAX_BYTES,
    "Entry.body": limits.ENTRY_MAX_BYTES,
    "SnapshotSent.data": limits.SNAPSHOT_CHUNK_BYTES,
    "StateAnswered.snapshot": limits.SNAPSHOT_CHUNK_BYTES,
    "BeatsAnswered.sealed": limits.GOSSIP_MESSAGE_MAX_BYTES,
    "CertificatesAnswered.certificate": limits.SEALED_SIGNATURE_MAX_BYTES,
    "CertificatesAnswered.votes": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Announcement.certificate": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Announcement.votes": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Order.certificate": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Link.signatures": limits.SEALED_SIGNATURE_MAX_BYTES,
    "ChangeCertified.signatures": limits.SEALED_SIGNATURE_MAX_BYTES,
    "EquivocationProven.first": limits.SEALED_SIGNATURE_MAX_BYTES,
    "EquivocationProven.second": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Evidence.first": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Evidence.second": limits.SEALED_SIGNATURE_MAX_BYTES,
    "Snapshot.state": limits.SNAPSHOT_MAX_BYTES,
}

MAX_TEXT = {
    "TaskRequest.spec_json": limits.SPEC_JSON_MAX_BYTES,
    "ChainRoster.requirements": limits.DATA_URI_MAX_BYTES,
    "Gpu.uuid": limits.NAME_MAX_BYTES,
    "Gpu.model": limits.NAME_MAX_BYTES,
    "Gpu.parent": limits.NAME_MAX_BYTES,
    "TaskMetric.name": limits.NAME_MAX_BYTES,
    "TaskMetric.value": limits.NAME_MAX_BYTES,
    "Placed.gpus": limits.NAME_MAX_BYTES,
    "Desired.gpus": limits.NAME_MAX_BYTES,
    "Adopted.gpus": limits.NAME_MAX_BYTES,
    "Hello.agent_version": limits.NAME_MAX_BYTES,
    "Heartbeat.agent_version": limits.NAME_MAX_BYTES,
    "TaskSpec.environment": limits.SPEC_JSON_MAX_BYTES,
    "TaskSpec.command": limits.SPEC_JSON_MAX_BYTES,
    "TaskSpec.entrypoint": limits.SPEC_JSON_MAX_BYTES,
}

MAX_ITEMS = {
    "Hello.addresses": limits.ADDRESSES_MAX,
    "Heartbeat.addresses": limits.ADDRESSES_MAX,
    "Heartbeat.allocations": limits.ALLOCATIONS_PER_HEARTBEAT_MAX,
    "Hardware.gpus": limits.GPUS_PER_NODE_MAX,
    "Load.gpus": limits.GPUS_PER_NODE_MAX,
    "NodesMoved.moves": limits.MOVES_PER_ENTRY_MAX,
    "AppendRequested.entries": limits.APPEND_BATCH_MAX_ENTRIES,
    "StateAnswered.entries": limits.APPEND_BATCH_MAX_ENTRIES,
    "Order.desired": limits.ALLOCATIONS_PER_NODE_MAX,
    "Order.stops": limits.ALLOCATIONS_PER_NODE_MAX,
    "Desired.gpus": limits.GPUS_PER_NODE_MAX,
    "Report.outcomes": limits.ALLOCATIONS_PER_NODE_MAX,
    "Report.claims": limits.CLAIMS_PER_REPORT_MAX,
    "Adopted.gpus": limits.GPUS_PER_NODE_MAX,
    "ReportAnswered.outcomes": limits.ALLOCATIONS_PER_NODE_MAX,
    "BindingsRequested.peer_keys": limits.PEER_LIST_MAX,
    "BindingsAnswered.peers": limits.PEER_LIST_MAX,
    "PeerKnown.addresses": limits.ADDRESSES_MAX,
    "BeatsAnswered.sealed": limits.BEATS_PER_ANSWER_MAX,
    "LogsRead.chunks": limits.LOG_BATCH_MAX_CHUNKS,
    "MetricsTold.metrics": limits.METRICS_PER_TASK_MAX,
    "Placement.placed": limits.REPLICAS_MAX,
    "Placed.gpus": limits.GPUS_PER_NODE_MAX,
    "ReportApplied.outcomes": limits.ALLOCATIONS_PER_NODE_MAX,
    # One more than the limit while a change is under way.
    "CommitteeChain.base": limits.VOTERS_MAX + 1,
    "CommitteeChain.links": limits.CHAIN_LINKS_MAX,
    "Link.voters": limits.VOTERS_MAX + 1,
    "Link.signatures": limits.VOTERS_MAX + 1,
    "ChangeCertified.signatures": limits.VOTERS_MAX + 1,
    "CertificatesAnswered.certificate": limits.VOTERS_MAX + 1,
    "CertificatesAnswered.votes": limits.VOTERS_MAX + 1,
    "Announcement.certificate": limits.VOTERS_MAX + 1,
    "Announcement.votes": limits.VOTERS_MAX + 1,
    "Order.certificate": limits.VOTERS_MAX + 1,
    "Configuration.voters": limits.VOTERS_MAX + 1,
    "StoreSeenAnswered.shown": limits.SEEN_SHOWN_MAX,
    "LogEnd.voters": limits.VOTERS_MAX + 1,
    "Configuration.learners": limits.LEARNERS_MAX + 1,
    "ChainRoster.members": limits.MEMBERS_MAX,
    "ChainRoster.bootstrap": limits.PEER_LIST_MAX,
    "TaskSpec.command": limits.COMMAND_ARGUMENTS_MAX,
    "TaskSpec.entrypoint": limits.COMMAND_ARGUMENTS_MAX,
    "TaskSpec.environment": limits.ENVIRONMENT_MAX,
    "TaskSpec.secrets": limits.SECRETS_MAX,
    "TaskSpec.constraints": limits.CONSTRAINTS_MAX,
    "TaskSpec.mounts": limits.MOUNTS_MAX,
    "TaskSpec.ports": limits.PORTS_MAX,
    "TaskSpec.labels": limits.LABELS_MAX,
}


def bytes_range(place: str) -> tuple[int, int]:
    """Smallest and largest length of the byte string at `Class.field`."""
    if place in EXACT_BYTES:
        return EXACT_BYTES[place], EXACT_BYTES[place]
    return 0, MAX_BYTES.get(place, limits.SNAPSHOT_MAX_BYTES)


def text_max(place: str) -> int:
    """Largest length of the text at `Class.field`, in UTF-8 bytes."""
    return MAX_TEXT.get(place, limits.TEXT_MAX_BYTES)


def items_max(place: str) -> int:
    """Largest number of items of the tuple at `Class.field`."""
    return MAX_ITEMS.get(place, limits.RECORD_ITEMS_MAX)
