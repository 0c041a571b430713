"""A pool whose manager is a contract (ERC-1271): k of n members invite, fewer or others do not."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from eth_abi.abi import encode

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.consent import KeyManager, ManagerSigner, countersign, invite_signer
from p2pool.drivers.chain.join_steps import Joining, Progress
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import BadSignature, TransactionFailed
from p2pool.model.ids import Address, NodeId
from tests.chain.conftest import World
from tests.chain.harness import acts

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

pytestmark = pytest.mark.chain

CODE = Path(__file__).resolve().parents[1] / "contracts" / "QuorumManager.json"


@attrs.frozen
class QuorumSigner:
    """The members who sign for a contract; the second implementation of `ManagerSigner`."""

    address: Address
    members: Sequence["LocalAccount"]

    def sign_invite(
        self, domain_id: int, pool_id: int, node_id: NodeId, expiration_s: int
    ) -> Invite:
        """Each member signs the same invite; signatures are sorted by signer."""
        first, *others = sorted(self.members, key=lambda member: int(member.address, 16))
        invite = KeyManager(first).sign_invite(domain_id, pool_id, node_id, expiration_s)
        signatures = [invite.signature, *(countersign(member, invite) for member in others)]
        return attrs.evolve(invite, signature=b"".join(signatures))


@attrs.frozen
class Managed:
    """A pool managed by two of three, and the members."""

    pool_id: int
    contract: Address
    members: Sequence["LocalAccount"]

    def signer(self, *which: int) -> ManagerSigner:
        """Some of the members, signing for the contract."""
        return QuorumSigner(self.contract, [self.members[i] for i in which])


@pytest.fixture
async def managed(world: World) -> Managed:
    """An active pool whose computeManagerKey is the contract."""
    members = [new_account() for _ in range(3)]
    code = bytes.fromhex(json.loads(CODE.read_text())["bytecode"][2:])
    arguments = encode(("address[]", "uint256"), ([m.address for m in members], 2))
    sent = await world.creator.deploy("QuorumManager", code + arguments)
    assert sent.contract_address is not None
    pool_id = await world.chain.create_pool(world.creator, 0, sent.contract_address, "quorum")
    await world.chain.start_pool(world.creator, pool_id)
    return Managed(pool_id, sent.contract_address, members)


async def test_two_of_three_members_invite(world: World, managed: Managed) -> None:
    """The pool's contract takes their signatures for the manager's, whichever two they are."""
    for pair in ((0, 1), (2, 0)):
        provider, node_id = await world.candidate()
        signer = managed.signer(*pair)
        invite = signer.sign_invite(0, managed.pool_id, node_id, await world.soon())
        assert await world.chain.invited_by(managed.contract, invite)
        await acts.join_pool(world.chain, provider, managed.pool_id, invite)
        assert await world.chain.in_pool(managed.pool_id, node_id)


@pytest.mark.parametrize("which", [(0,), (0, 1, 2), (1, 1)], ids=["one", "three", "one twice"])
async def test_no_other_number_of_signatures_does(
    world: World, managed: Managed, which: tuple[int, ...]
) -> None:
    """Said beforehand by a call, and refused with a sentence by the transaction."""
    provider, node_id = await world.candidate()
    invite = managed.signer(*which).sign_invite(0, managed.pool_id, node_id, await world.soon())
    assert not await world.chain.invited_by(managed.contract, invite)
    with pytest.raises(TransactionFailed, match="not signed by the pool's manager"):
        await acts.join_pool(world.chain, provider, managed.pool_id, invite)


async def test_a_stranger_counts_for_nobody(world: World, managed: Managed) -> None:
    """Nor do garbled bytes of the right length, which make the contract revert."""
    _, node_id = await world.candidate()
    mixed = QuorumSigner(managed.contract, [managed.members[0], new_account()])
    invite = mixed.sign_invite(0, managed.pool_id, node_id, await world.soon())
    assert not await world.chain.invited_by(managed.contract, invite)
    garbled = attrs.evolve(invite, signature=b"\xff" * 130)
    assert not await world.chain.invited_by(managed.contract, garbled)
    # The pool's contract is one that signs nothing.
    assert not await world.chain.invited_by(world.chain.at.pool, invite)


async def test_a_single_key_is_told_from_the_members(world: World, managed: Managed) -> None:
    """`invite_signer` names the signer of one key's invite, and none for a contract's."""
    node_id = NodeId(b"n" * 20)
    invite = managed.signer(0, 1).sign_invite(0, managed.pool_id, node_id, 2**31)
    with pytest.raises(BadSignature):
        invite_signer(invite)
    own = world.manager.sign_invite(0, world.pool_id, node_id, 2**31)
    assert await world.chain.invited_by(world.manager.address, own)
    assert not await world.chain.invited_by(managed.contract, own)


async def test_a_joining_waits_for_enough_members(world: World, managed: Managed) -> None:
    """One member's word is waited past, without a transaction; two let the node in."""
    provider = await world.account()
    invites: list[Invite] = []

    async def find() -> Invite | None:
        return invites[-1] if invites else None

    joining = Joining(world.chain, managed.pool_id, new_account(), 1, find, provider, poll_s=0.02)
    federator, details = world.deployment.federator, []
    with trio.fail_after(60):
        async for step in joining.steps():
            if step.name == "whitelisted":
                await world.chain.whitelist(federator, provider.address)
            elif step.name == "validated":
                await world.chain.validate_node(federator, provider.address, joining.node_id)
            elif step.name == "invited" and step.progress is Progress.WAITING:
                details.append(step.detail)
                signer = managed.signer(*range(len(details)))
                soon = await world.soon()
                invites.append(signer.sign_invite(0, managed.pool_id, joining.node_id, soon))
    assert ["not valid" in detail for detail in details] == [False, True]
    assert await world.chain.in_pool(managed.pool_id, joining.node_id)
