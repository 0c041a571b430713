"""The newest block that was seen: whether an endpoint lags behind it, and whether it stands still.

Intuition: many endpoints are several machines behind one address, at different heights. So a head
that is a little lower, for a moment, means nothing; one that is far lower, or stays so, is an
endpoint that is behind. A head that does not move is an endpoint that stands still, if others have
more, else a chain that does.

Invariants: a lower head takes nothing back before `CHAIN_BEHIND_MAX_MS`; a lower final block never
does.
"""

from datetime import UTC, datetime

import attrs
import trio

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.answers import Block
from p2pool.drivers.chain.endpoints.heads import Heads
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits


@attrs.define
class HeadWatch:
    """The newest block that was taken, since when it is that, and since when endpoints say less."""

    head: Block | None = None
    lags: bool = False
    _since_s: float = 0.0
    _behind_since_s: float | None = None
    _final_since_s: float | None = None
    _looked_s: float = float("-inf")

    def see(self, head: Block) -> None:
        """A head was taken."""
        if self.head is None or self.head.hash != head.hash:
            self.head, self._since_s = head, trio.current_time()

    def behind(self, head: Block) -> bool:
        """Whether it is older than what was seen."""
        return self.head is not None and head.number < self.head.number

    def lag(self, head: Block, rpc: Rpc) -> str | None:
        """The warning for an endpoint that has less of the chain than was seen already; `lags` says
        whether its head is left out. If a lower head lasts, the chain itself went back."""
        seen = self.head
        if seen is None or not self.behind(head):
            self.lags, self._behind_since_s = False, None
            return None
        now_s = trio.current_time()
        since_s = self._behind_since_s if self._behind_since_s is not None else now_s
        self._behind_since_s = since_s
        self.lags = now_s - since_s < limits.CHAIN_BEHIND_MAX_MS / 1000
        if not self.lags or not _matters(seen.number - head.number, now_s - since_s):
            return None
        return _behind(rpc, head.number, f"block {seen.number} was seen")

    def lag_of_final(self, final: Block, old: Block | None, rpc: Rpc) -> str | None:
        """The warning for an endpoint whose final block is before the last one."""
        if old is None or final.number >= old.number:
            self._final_since_s = None
            return None
        now_s = trio.current_time()
        since_s = self._final_since_s if self._final_since_s is not None else now_s
        self._final_since_s = since_s
        if not _matters(old.number - final.number, now_s - since_s):
            return None
        return _behind(rpc, final.number, f"block {old.number} was final")

    async def still(self, rpc: Rpc) -> str | None:
        """The warning for a head that stands still: of one endpoint, or of the chain."""
        now_s, head = trio.current_time(), self.head
        if head is None or self.lags:
            return None
        still_s = now_s - self._since_s
        look_s = limits.CHAIN_STILL_LOOK_MS / 1000
        if still_s >= look_s and now_s - self._looked_s >= look_s:
            self._looked_s = now_s
            others = await rpc.others("eth_getBlockByNumber", "latest", False, read=answers.block)
            ahead = [(b.number, name) for name, b in others if b and b.number > head.number]
            if ahead:
                number, name = max(ahead)
                told = f"{rpc.name()} stands still at block {head.number}: {name} has {number}."
                rpc.pass_over()
                return told
        if still_s < limits.CHAIN_HALTED_MS / 1000:
            return None
        at = datetime.fromtimestamp(head.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return (
            f"The chain has made no block since {at} (block {head.number}), as far as the RPC"
            " endpoints say. What was read stands; who joins or leaves is seen when it goes on."
        )


@attrs.define
class Pace:
    """How often to look: the chain's blocks say."""

    block_ms: int = 0
    _last: Block | None = None

    def hear(self, head: Block) -> None:
        """A head: the time between two of them is that of a block."""
        last = self._last
        if last is not None and head.number > last.number:
            self.block_ms = max(0, head.time_ms - last.time_ms) // (head.number - last.number)
        if last is None or head.number > last.number:
            self._last = head

    def poll_ms(self, least_ms: int) -> int:
        """The pause between two looks."""
        return max(least_ms, min(self.block_ms // 4, limits.CHAIN_POLL_SLOWER * least_ms))

    async def rest(self, least_ms: int, heads: Heads | None) -> None:
        """Wait until it is worth to look again."""
        if heads is None or not heads.connected:
            await trio.sleep(self.poll_ms(least_ms) / 1000)
            return
        await trio.sleep(least_ms / 1000)
        with trio.move_on_after(limits.CHAIN_HEADS_POLL_MS / 1000):
            await heads.news()


def _matters(blocks: int, lasting_s: float) -> bool:
    return blocks > limits.CHAIN_OVERLAP_BLOCKS or lasting_s >= limits.CHAIN_LAG_MS / 1000


def _behind(rpc: Rpc, less: int, seen: str) -> str:
    told = f"{rpc.name()} is behind: it says {less}, and {seen}."
    rpc.pass_over()
    return told
