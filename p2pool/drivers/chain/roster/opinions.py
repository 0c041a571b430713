"""Has a roster read by one endpoint, and read once more by another.

Intuition: one endpoint may lie. So what one of them says of the contracts is said by it alone, from
the first part to the last, and counts as agreed only when another one gives the same. After an
event the other reads only what the first one read again: the rest it has agreed to before.

Invariants: no endpoint is asked for a second opinion on its own word; one that fails or dawdles is
left out for a while, and delays nobody.
Source: docs/design/chain.md, "Following the chain".
"""

import attrs
import trio

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.answers import Block
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.roster.events import EVERYTHING, Touched
from p2pool.drivers.chain.roster.reader import UNUSABLE, RosterReader
from p2pool.drivers.chain.roster.trail import Read
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.chain.roster import ChainRoster


class Disputed(Exception):
    """Another endpoint reads other contents at the same block, and none agrees with the first."""


@attrs.frozen
class Base:
    """What a reading starts from: a roster, and what may have changed since. None: all is read."""

    roster: ChainRoster | None = None
    touched: Touched = EVERYTHING


@attrs.frozen
class Opinions:
    """The endpoints, each by itself."""

    reader: RosterReader

    async def read(self, block: Block, base: Base) -> Read:
        """The roster at a block, all that is read of it by one endpoint, and whose word it is: one
        that fails in the middle could else be asked for the second opinion on what it said
        itself."""
        chain, failed = self.reader.chain, list[Exception]()
        for rpc in chain.rpc.singles():
            try:
                roster = await _at(self._by(rpc), block, base)
            except UNUSABLE as error:
                failed.append(error)
            else:
                chain.rpc.prefer(rpc.url)
                return Read(block, roster, rpc.url)
        raise next((e for e in failed if isinstance(e, EndpointRefused)), failed[0])

    async def agreed(self, read: Read, base: Base, took_s: float = 0.0) -> Read:
        """A reading, agreed if another endpoint gives the same contents at that block's hash;
        `Disputed` if others give other contents only.

        One that is far slower than the first, which took `took_s`, is left out for a while, and one
        that does not have the block yet is asked again at the next.
        """
        if read.agreed:
            return read
        otherwise: list[str] = []
        for rpc in self.reader.chain.rpc.singles():
            if rpc.url == read.by or rpc.is_quiet:
                continue
            other = await self._other(rpc, read.block, base, took_s)
            if other == read.roster:
                return attrs.evolve(read, agreed=True)
            if other is not None:
                otherwise.append(rpc.name())
        if otherwise:
            raise Disputed(
                f"The RPC endpoints disagree on the contracts at block {read.block.number}:"
                f" {self.reader.chain.rpc.name()} against {', '.join(otherwise)}. The last roster"
                " stands until two agree; correct [chain] endpoints."
            )
        return read

    async def _other(self, rpc: Rpc, block: Block, base: Base, took_s: float) -> ChainRoster | None:
        """What another endpoint reads there; None: nothing."""
        other: ChainRoster | None = None
        with trio.move_on_after(limits.CHAIN_COMPARE_TIMEOUT_MS / 1000 + 2 * took_s) as scope:
            try:
                known = await rpc.request(
                    "eth_getBlockByHash", block.hash, False, read=answers.block
                )
                if known is not None:
                    other = await _at(self._by(rpc), block, base)
            except UNUSABLE:
                rpc.quiet()
        if scope.cancelled_caught:
            rpc.quiet()
        return other

    def _by(self, rpc: Rpc) -> RosterReader:
        return self.reader.by(attrs.evolve(self.reader.chain, rpc=rpc))


async def _at(reader: RosterReader, block: Block, base: Base) -> ChainRoster:
    if base.roster is None:
        return await reader.read(block)
    return await reader.update(base.roster, block, base.touched)
