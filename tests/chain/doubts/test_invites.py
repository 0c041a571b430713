"""Whatever a peer hands to a joining agent as its invite, it is good or it is none."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.consent import KeyManager, invite_signer
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.provider.ways import Ways, invite_problem
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import BadSignature
from p2pool.model.ids import Address, NodeId
from tests.chain.hostile import AT, Chain, told

GOOD = KeyManager(new_account()).sign_invite(0, 7, NodeId(b"n" * 20), 2**40)
R, S = GOOD.signature[:32], GOOD.signature[32:64]
UPPER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(
    S, "big"
)
SIGNATURES = (
    *(b"", b"\x1b", bytes(64), bytes(65), b"\xff" * 65, GOOD.signature[:64], GOOD.signature * 2),
    *(R + S + bytes([v]) for v in (0, 1, 2, 26, 29, 255)),
    R + UPPER.to_bytes(32, "big") + bytes([55 - GOOD.signature[64]]),
)


@given(st.sampled_from(SIGNATURES) | st.binary(max_size=70), st.integers(-(2**63), 2**63))
def test_a_signer_is_found_or_there_is_none(signature: bytes, number: int) -> None:
    """No other error, for any bytes and any number that the codec lets in."""
    invite = attrs.evolve(GOOD, signature=signature, nonce=number, expiration_s=number)
    try:
        assert len(invite_signer(invite)) == 20
    except BadSignature:
        return


def test_the_managers_own_is_found() -> None:
    """Else the test above would pass for nothing at all."""
    manager = KeyManager(new_account())
    assert invite_signer(manager.sign_invite(0, 7, NodeId(b"n" * 20), 9)) == manager.address


@pytest.mark.parametrize("contract", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        *({"signature": signature} for signature in SIGNATURES),
        {"nonce": -1},
        {"nonce": -(2**63)},
    ],
)
async def test_a_joining_agent_waits_for_another_one(
    changes: dict[str, object], contract: bool
) -> None:
    """As it came over the wire; the manager may be a key, or a contract that asks for more."""
    node = new_account()
    named = attrs.evolve(GOOD, node_id=NodeId(bytes.fromhex(node.address[2:])), **changes)  # type: ignore[arg-type]
    came = decode_struct(Invite, encode_struct(named))
    rpc = Rpc.to(1, ["http://h.example"])
    code = told("0x60" if contract else "0x")
    rpc.endpoints[0].provider = Chain({"eth_getCode": code})  # type: ignore[assignment]

    async def found(_: NodeId) -> Invite:
        return came

    chain, refused = PoolContracts(rpc, AT), list[Invite]()
    pool = await chain.pool(7)
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    assert await invite_problem(chain, pool, node_id, came, 0)
    ways = Ways(Reader(chain, 1, 0), Address(b"p" * 20))
    invite, why = await ways._invite(pool, node_id, found, refused.append)
    assert (invite, refused, "not valid" in why) == (None, [came], True)
