"""Has the chain asked whether contract accounts signed: for the core, for log grants, for invites.

Intuition: the core and whoever serves log lines need the same word, and get it here. What the core
asks comes back as an input, whatever the endpoints do. What is valid or invalid at a block is kept,
so a reader that comes back with the same grant costs nothing.

Invariants: each question of the core has exactly one answer; few questions are under way at a time,
and what finds no room is answered at once with *unknown*; whoever makes this agent ask has a
budget.
Source: docs/design/chain.md, "Contract accounts".
"""

from typing import Protocol

import trio

from p2pool.core.effects import JudgeContractSignatures
from p2pool.core.inputs import ContractSignaturesJudged
from p2pool.drivers.chain.consent import invite_digest, invite_signer, personal_hash
from p2pool.drivers.chain.contract_accounts import ContractAccounts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.access.grants import SignedGrant
from p2pool.model.access.requests import SignedRequest
from p2pool.model.access.verdicts import ContractSignature, FinalBlock, Validity, Verdict
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.chain.invite import Invite
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.errors import BadSignature, ChainUnavailable, Overloaded, Refusal
from p2pool.model.ids import Digest, PoolRef
from p2pool.wire.typed_data import contract_signatures

NOT_READ = "this node has not read the chain since its start"
Asked = tuple[ContractSignature, ...]


class Inbox(Protocol):
    """Receives the answers: an agent's loop."""

    async def put(self, event: ContractSignaturesJudged) -> None:
        """Queue an input; waits for room."""
        ...

    def offer(self, event: ContractSignaturesJudged) -> bool:
        """Queue an input if there is room."""
        ...


class ContractJudge:
    """The contract accounts of one agent's chain."""

    def __init__(self, pool: PoolRef, loop: Inbox) -> None:
        """Nothing is asked before `run`."""
        self._pool, self._loop = pool, loop
        self._accounts: ContractAccounts | None = None
        self._send, self._receive = trio.open_memory_channel[JudgeContractSignatures](
            limits.CONTRACT_ASKS_QUEUED_MAX
        )
        self._room = trio.CapacityLimiter(limits.CONTRACT_ASKS_IN_FLIGHT_MAX)
        self._budget = TokenBuckets(
            limits.CONTRACT_ASKS_PER_S, limits.CONTRACT_ASKS_BURST, limits.PEERS_TRACKED_MAX
        )
        self._kept: BoundedDict[tuple[Asked, FinalBlock], Verdict] = BoundedDict(
            limits.CONTRACT_VERDICTS_KEPT_MAX
        )

    # --- for the core -----------------------------------------------------------------------------

    def ask(self, effect: JudgeContractSignatures) -> None:
        """Ask for the core."""
        try:
            self._send.send_nowait(effect)
        except trio.WouldBlock:
            verdict = Verdict(Validity.UNKNOWN, "too many questions wait for the chain")
            self._loop.offer(ContractSignaturesJudged(effect.signed, effect.at, verdict))

    async def run(self, rpc: Rpc) -> None:
        """Ask what the core wants to know, until cancelled."""
        self._accounts = ContractAccounts(rpc)
        async with trio.open_nursery() as nursery:
            for _ in range(limits.CONTRACT_ASKS_IN_FLIGHT_MAX):
                nursery.start_soon(self._answer)

    async def _answer(self) -> None:
        async for effect in self._receive:
            verdict = await self._verdict(effect.signed, effect.at, effect.later)
            await self._loop.put(ContractSignaturesJudged(effect.signed, effect.at, verdict))

    # --- for others -------------------------------------------------------------------------------

    async def check_grant(
        self, grant: SignedGrant, final: ChainRoster | None, origin: bytes, now_ms: int
    ) -> None:
        """Raise unless the chain says, at the last final block, that the contract accounts under a
        grant signed it. `origin`: who makes us ask."""
        if not self._budget.admit(origin, now_ms):
            raise Overloaded("Too much is asked of contract accounts.", hint="Retry in a minute.")
        _check(await self._verdict(grant, _block(final), None) if final is not None else None)

    async def check_invite(self, invite: Invite, latest: ChainRoster | None) -> None:
        """`BadSignature` for an invite that the pool's manager did not sign, as far as the chain
        tells; what nobody can tell now the contract will, when the node joins."""
        if latest is None or not any(latest.manager):
            return
        try:
            if invite_signer(invite) == latest.manager:
                return
        except BadSignature:
            pass  # A contract's signature is any bytes.
        digest = invite_digest(
            invite.domain_id, invite.pool_id, invite.node_id, invite.nonce, invite.expiration_s
        )
        hashed = Digest(personal_hash(digest))
        asked = (ContractSignature(latest.manager, hashed, invite.signature),)
        found = await self._judged(asked, _block(latest), None)
        if found.validity is Validity.INVALID:
            raise BadSignature(
                f"The pool's manager did not sign this invite: {found.reason}.",
                hint="Sign it with the manager's key, or by the owners of its contract.",
            )

    async def _verdict(
        self, signed: SignedRequest | SignedGrant, at: FinalBlock, later: FinalBlock | None
    ) -> Verdict:
        try:
            asked = contract_signatures(self._pool, signed)
        except Refusal as error:
            return Verdict(Validity.INVALID, error.message, at)
        return await self._judged(asked, at, later)

    async def _judged(self, asked: Asked, at: FinalBlock, later: FinalBlock | None) -> Verdict:
        known = self._kept.get((asked, at))
        if known is not None or self._accounts is None:
            return known or Verdict(Validity.UNKNOWN, NOT_READ)
        async with self._room:
            found = await self._accounts.judge(asked, at, later)
        if found.validity is not Validity.UNKNOWN:
            self._kept.renew((asked, at), found)
        return found


def _block(roster: ChainRoster) -> FinalBlock:
    return FinalBlock(roster.block_number, roster.block_hash)


def _check(found: Verdict | None) -> None:
    if found is not None and found.validity is Validity.VALID:
        return
    if found is not None and found.validity is Validity.INVALID:
        raise BadSignature(
            f"By the chain, {found.reason}.",
            hint="Have it signed by the contract's present owners.",
        )
    why = found.reason if found is not None else NOT_READ
    raise ChainUnavailable(
        f"This node cannot tell whether a contract account signed it: {why}.", hint="Try again."
    )
