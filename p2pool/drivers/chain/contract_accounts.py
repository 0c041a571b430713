"""Asks contract accounts whether they signed: `isValidSignature` at one final block (ERC-1271).

Intuition: only the contract's code knows whose signatures it takes, and its owners change. So it is
asked at one block, by hash, and everybody who asks about that block hears the same. Each endpoint
is asked by itself, all at once, and each answer is that endpoint's word.

Invariants: where there are several endpoints two have to say the same, and more than say otherwise;
one alone decides only where it is the only one. A revert, another answer, or no code at that
address is a no; no answer in time is not to know. A contract gets a bounded amount of gas.
Source: ERC-1271; docs/design/chain.md, "Contract accounts".
"""

from collections.abc import Sequence

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.model import limits
from p2pool.model.access.verdicts import ContractSignature, FinalBlock, Validity, Verdict
from p2pool.model.errors import ChainUnavailable, WrongChain

IS_VALID = Function(
    "ERC-1271 account", "isValidSignature(bytes32,bytes)", ("bytes32", "bytes"), ("bytes4",)
)
IS_VALID_MAGIC = bytes.fromhex("1626ba7e")
YES = IS_VALID_MAGIC.ljust(answers.WORD, b"\0")
"""The whole word that is a yes, as OpenZeppelin's SignatureChecker takes it."""


@attrs.frozen
class Word:
    """What one endpoint says of all signatures at a block: why it is a no, if it is one."""

    no: str
    block_time_ms: int


@attrs.frozen
class ContractAccounts:
    """Contract accounts, as a chain's endpoints show them."""

    rpc: Rpc

    async def judge(
        self,
        asked: Sequence[ContractSignature],
        at: FinalBlock,
        later: FinalBlock | None = None,
    ) -> Verdict:
        """Whether all of these are good at a block. Where no endpoint can tell that any more, a yes
        at `later` counts; a no there does not: the owners may have changed since."""
        found = await self._judge(asked, at)
        if later is None or found.validity is not Validity.UNKNOWN:
            return found
        then = await self._judge(asked, later)
        return then if then.validity is Validity.VALID else found

    async def _judge(self, asked: Sequence[ContractSignature], at: FinalBlock) -> Verdict:
        singles = self.rpc.singles()
        words: list[Word] = []
        silent: list[str] = []

        async def ask(rpc: Rpc) -> None:
            try:
                words.append(await _word(rpc, asked, at))
            except (ChainUnavailable, WrongChain) as error:
                silent.append(error.message)

        with trio.move_on_after(limits.CONTRACT_CALL_TIMEOUT_MS / 1000):
            async with trio.open_nursery() as nursery:
                for rpc in singles:
                    nursery.start_soon(ask, rpc)
        return _agreed(words, silent, at, needed=min(2, len(singles)))


def _agreed(words: list[Word], silent: list[str], at: FinalBlock, needed: int) -> Verdict:
    """What the endpoints' words come to."""
    yes = [word for word in words if not word.no]
    no = [word for word in words if word.no]
    if len(yes) >= needed and len(yes) > len(no):
        return Verdict(Validity.VALID, "", at, yes[0].block_time_ms)
    if len(no) >= needed and len(no) > len(yes):
        return Verdict(Validity.INVALID, no[0].no, at, no[0].block_time_ms)
    if yes and no:
        reason = "the RPC endpoints disagree on it"
    elif words:
        reason = "only one RPC endpoint says anything of it, and one alone may lie"
    else:
        reason = silent[0] if silent else "no RPC endpoint answers in time"
    return Verdict(Validity.UNKNOWN, reason, at)


async def _word(rpc: Rpc, asked: Sequence[ContractSignature], at: FinalBlock) -> Word:
    """One endpoint's word. `ChainUnavailable`: it does not have the block, or its state."""
    hash_text = "0x" + at.block_hash.hex()
    block = await rpc.request("eth_getBlockByHash", hash_text, False, read=answers.block)
    if block is None:
        raise ChainUnavailable(f"{rpc.name()} does not have block {at.number}")
    if (block.hash, block.number) != (hash_text, at.number):
        raise ChainUnavailable(f"{rpc.name()} shows another block than {at.number}")
    for one in asked:
        no = await _refusal(rpc, one, hash_text)
        if no:
            return Word(no, block.time_ms)
    return Word("", block.time_ms)


async def _refusal(rpc: Rpc, one: ContractSignature, hash_text: str) -> str:
    """Why a contract does not take a signature for its own at a block, or an empty text."""
    who = address_text(one.contract)
    at = {"blockHash": hash_text, "requireCanonical": True}
    call = {
        "to": who,
        "data": "0x" + IS_VALID.call(one.digest, one.signature).hex(),
        "gas": hex(limits.CONTRACT_GAS_MAX),
    }
    try:
        said = await rpc.request("eth_call", call, at, read=answers.data)
    except Reverted:
        return f"the contract account {who} did not sign it"
    if said[: answers.WORD] == YES:
        return ""
    if not said and not await rpc.request("eth_getCode", who, at, read=answers.data):
        return f"there is no contract at {who} on chain {rpc.chain_id}"
    return f"the contract account {who} did not sign it"
