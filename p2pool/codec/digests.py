"""The digests that name things: logs, tasks, committees, hardware.

Digests are SHA-256 over canonical CBOR that begins with the kind of the named thing, so no two
kinds share a digest. A task's id leaves the signature out: the same request signed twice is the
same task.
"""

import hashlib

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import lowest_level, to_value
from p2pool.model.access.requests import TaskRequest
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import TASK_ID_BYTES, Digest, PoolRef, TaskId
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.log.state_digests import DigestAlgorithm, algorithm_of
from p2pool.model.machine.hardware import Hardware


def digest(data: bytes) -> Digest:
    """SHA-256."""
    return Digest(hashlib.sha256(data).digest())


def _named(purpose: str, *parts: canonical.Value) -> Digest:
    """Digest of canonical bytes that begin with the kind of the named thing."""
    return digest(canonical.encode(["p2pool/1", purpose, *parts]))


def log_id(pool: PoolRef, root: RootRecord) -> Digest:
    """Name of the log that a root record founds.

    A record of release 0.1.0 named the previous state by a digest without an algorithm: so it
    still stands in the name, or that log would be another one now."""
    value: list[canonical.Value] = to_value(root)
    before = root.previous
    if before is not None and algorithm_of(before.state_digest) is DigestAlgorithm.ARRAY:
        value[-1] = [before.log_id, before.base_index, before.state_digest[1:]]
    return _named("log", to_value(pool), value)


def configuration_hash(configuration: Configuration) -> Digest:
    """Digest of a configuration, as votes and certificates state it: over its oldest form."""
    return _named("configuration", to_value(configuration, lowest_level(configuration)))


def committee_hash(voters: tuple[Voter, ...]) -> Digest:
    """Digest of the voters alone, as certificates state it: learners do not count."""
    return configuration_hash(Configuration(voters))


def hardware_digest(hardware: Hardware) -> Digest:
    """Digest of a hardware record, as heartbeats state it."""
    return _named("hardware", to_value(hardware))


def chain_fact(name: str, *values: canonical.Value) -> Digest:
    """Digest of something that the chain says, as voters compare it."""
    return _named("chain fact", name, *values)


def task_id(pool: PoolRef, request: TaskRequest) -> TaskId:
    """Name of the task (or other act) that a request asks for, regardless of its signatures."""
    return TaskId(_named("request", to_value(pool), to_value(request))[:TASK_ID_BYTES])
