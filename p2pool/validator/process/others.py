"""What other validators found, as an agent of the pool tells it: before stake is taken, and before
a node that we alone cannot reach loses anything.

Intuition: members keep the newest verdict of each validator on each node, and the documents behind
them. Only what bears on a decision is looked at: verdicts on nodes that failed here lately.

Invariants: a verdict counts once its document holds up by itself, and the chain gives its account
the role at a final block; whoever tells of it can leave verdicts out, and invent none. What cannot
be had now is asked for again, and until then it is unknown whether others contradict us (`heard`).
Bounded: documents for each look, and what is remembered.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_of
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Presence
from p2pool.drivers.chain.validator.roles import Role, holds_role
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Malformed, NotFound, P2poolError, Refusal
from p2pool.model.ids import ADDRESS_BYTES, DIGEST_BYTES, Address, NodeId, PoolRef
from p2pool.validator.challenge.outcome import finding_of_evidence
from p2pool.validator.policy.findings import Finding
from p2pool.wire.validation.evidence import verify_evidence

log = get_logger(__name__)


class TellsVerdicts(Protocol):
    """An agent's API, as `client.agent_client.AgentClient` speaks to it."""

    def validations(self, node_id: str | None = None) -> list[dict[str, Any]]:
        """The newest verdict of each validator on a node."""
        ...

    def validation(self, digest: str) -> Iterator[bytes]:
        """The document that a verdict names, in pieces."""
        ...


@attrs.frozen
class _Told:
    """A row of the answer, checked for its form."""

    validator: Address
    digest: bytes


@attrs.define
class Others:
    """Of one run. `found`: by validator and node, the newest that held up; `heard`: the nodes of
    which the last look learned all that an agent tells."""

    agent: TellsVerdicts
    chain: PoolContracts
    pool: PoolRef
    me: Address
    found: dict[tuple[Address, NodeId], Finding] = attrs.field(factory=dict)
    heard: set[NodeId] = attrs.field(factory=set)
    _seen: BoundedDict[bytes, None] = attrs.field(
        factory=lambda: BoundedDict[bytes, None](limits.VALIDATOR_OTHERS_SEEN_MAX)
    )
    _silent: bool = False

    async def look(self, nodes: Mapping[NodeId, Address]) -> set[NodeId]:
        """Ask about these nodes, by their providers; those of which something is new."""
        changed: set[NodeId] = set()
        left = limits.VALIDATOR_OTHERS_PER_LOOK
        self._forget_all_but(nodes)
        for node_id, provider in nodes.items():
            rows = await self._told_of(node_id)
            heard = rows is not None
            for told in rows or ():
                if told.validator == self.me or told.digest in self._seen:
                    continue
                taken = await self._take(told, node_id, provider) if left else None
                left -= bool(left)
                heard = heard and taken is not None
                if taken:
                    changed.add(node_id)
            (self.heard.add if heard else self.heard.discard)(node_id)
        return changed

    def _forget_all_but(self, nodes: Mapping[NodeId, Address]) -> None:
        """What is forgotten may be looked at again: it counts again if the node fails again."""
        for place, one in tuple(self.found.items()):
            if place[1] not in nodes:
                del self.found[place]
                self._seen.pop(one.finding_id, None)
        self.heard &= nodes.keys()

    async def _told_of(self, node_id: NodeId) -> list[_Told] | None:
        """What an agent tells of a node; None: nobody does."""
        try:
            rows = await trio.to_thread.run_sync(
                self.agent.validations, address_text(node_id), abandon_on_cancel=True
            )
            self._silent = False
        except P2poolError as error:
            if not self._silent:
                log.warning("no agent tells what other validators found", why=error.message)
            self._silent = True
            return None
        return [row for row in map(_row, rows[: limits.VALIDATOR_OTHERS_PER_NODE_MAX]) if row]

    async def _take(self, told: _Told, node_id: NodeId, provider: Address) -> bool | None:
        """Whether it is news; None: nobody says now whether it counts."""
        try:
            role = await holds_role(self.chain, told.validator, Role.VALIDATOR, "finalized")
            if role.presence is Presence.UNKNOWN:
                return None
            if role.is_absent:
                raise Malformed("Its account is no validator.")
            finding = await trio.to_thread.run_sync(
                self._checked, told, provider, abandon_on_cancel=True
            )
            if (finding.validator, finding.node_id) != (told.validator, node_id):
                raise Malformed("Its evidence is of something else.")
        except NotFound:
            return False  # No member that is reached has the document now.
        except Refusal as error:
            log.warning(
                "a verdict of another validator does not hold up",
                validator=address_text(told.validator),
                evidence=told.digest.hex(),
                why=error.message,
            )
            self._seen[told.digest] = None
            return False
        except P2poolError:
            return None
        self._seen[told.digest] = None
        place = (told.validator, node_id)
        known = self.found.get(place)
        if known is not None and known.at_ms >= finding.at_ms:
            return False
        self.found[place] = finding
        return True

    def _checked(self, told: _Told, provider: Address) -> Finding:
        data = bytearray()
        for piece in self.agent.validation(told.digest.hex()):
            data += piece
            if len(data) > limits.EVIDENCE_DOCUMENT_MAX_BYTES:
                raise Malformed("Its evidence is too long.")
        signed = evidence_of(bytes(data))
        verify_evidence(self.pool, signed)
        finding = finding_of_evidence(signed.evidence, provider)
        if finding.finding_id != told.digest:
            raise Malformed("Its evidence is another document.")
        return finding


def _row(row: Mapping[str, Any]) -> _Told | None:
    try:
        validator = bytes.fromhex(str(row["validator"]).removeprefix("0x"))
        digest = bytes.fromhex(str(row["evidence"]))
    except (KeyError, ValueError):
        return None
    if len(validator) != ADDRESS_BYTES or len(digest) != DIGEST_BYTES:
        return None
    return _Told(Address(validator), digest)
