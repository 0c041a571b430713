"""What the chain says of this node's provider, read when something happens to it, for
`agent status`.

Intuition: a provider without coin cannot send, one whose stake was slashed loses its nodes, and
nobody looks at either until it hurts. But most providers rest for weeks. So the agent reads the
account whose key it has, or else the one that the roster names, once at its start, whenever the
roster's follower hears an event that names it, and every PROVIDER_POLL_MS for what no event of
these contracts tells, such as coin that was spent.

Invariants: what cannot be read is None, never 0; a failed read keeps no old value alive; two looks
have a pause of PROVIDER_PAUSE_MS between them, however many events come; the core knows nothing of
it.
"""

from collections.abc import Sequence

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.codec.text.clip import clipped
from p2pool.codec.text.stake import shortage_warning
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Reading, StakeFacts, Standing
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.roster.events import names
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, WrongChain
from p2pool.model.ids import Address
from p2pool.model.ports.agent import ProviderStatus

log = get_logger(__name__)


@attrs.define
class ProviderWatch:
    """The last word of the chain on this node's provider."""

    options: AgentOptions
    loop: Loop
    status: ProviderStatus | None = None
    _news: trio.Event = attrs.field(factory=trio.Event)
    _warned: str | None = None

    async def run(self, chain: PoolContracts) -> None:
        """Read until cancelled; nothing as long as nobody says who the provider is."""
        while True:
            while (account := self.account()) is None:
                await self.loop.wait_stepped()
            self._news = trio.Event()
            self.status = await read_status(chain, account)
            self._warn(self.status)
            await trio.sleep(limits.PROVIDER_PAUSE_MS / 1000)
            if not self.status.problem:
                with trio.move_on_after(limits.PROVIDER_POLL_MS / 1000):
                    await self._news.wait()

    def hear(self, events: Sequence[Log] | None) -> None:
        """The events of new blocks; None: nobody can tell what happened in them."""
        account = self.account()
        if account is not None and (events is None or any(names(one, account) for one in events)):
            self._news.set()

    def _warn(self, status: ProviderStatus) -> None:
        """Have the log say once what its stake lacks."""
        if status.stake_wei is None or status.stake_needed_wei is None:
            return
        short = None
        if status.registered:
            short = shortage_warning(status.account, status.stake_wei, status.stake_needed_wei)
        if short is not None and short != self._warned:
            log.warning("the provider's stake is too small", what=short)
        self._warned = short

    def account(self) -> Address | None:
        """The provider: of the key that this agent has, else as the roster says."""
        if self.options.provider is not None:
            return Address(bytes.fromhex(self.options.provider.address[2:]))
        member = self.loop.node.context.roster.member(self.options.node_id)
        return None if member is None else member.provider


async def read_status(chain: PoolContracts, account: Address) -> ProviderStatus:
    """A provider as the chain has it now; all unknown if nobody says."""
    try:
        reader = await Reader.at_head(chain)
        facts, stake = await reader.standing(account), await reader.stake(account)
    except (ChainUnavailable, WrongChain) as error:
        return _unknown(account, error.message)
    return status_of(facts, stake, read_clock().wall_ms)


def status_of(facts: Standing, stake: StakeFacts, now_ms: int) -> ProviderStatus:
    """The facts as a status."""
    pending = stake.unbonds.value
    later = [one.due_s for one in pending or () if one.due_s > facts.time_s]
    whys = (facts.stake_wei.why, facts.coin_wei.why, facts.tokens_wei.why, stake.unbonds.why)
    return ProviderStatus(
        account=facts.address,
        registered=_bool(facts.registered),
        whitelisted=_bool(facts.whitelisted),
        coin_wei=facts.coin_wei.value,
        tokens_wei=facts.tokens_wei.value,
        stake_wei=facts.stake_wei.value,
        stake_needed_wei=facts.minimum_wei.value,
        unbonding_wei=None if pending is None else sum(one.amount_wei for one in pending),
        withdrawable_wei=None if pending is None else stake.due_wei(facts.time_s),
        next_due_s=min(later, default=0),
        read_at_ms=now_ms,
        problem=clipped(next(filter(None, whys), ""), limits.TEXT_MAX_BYTES),
    )


def _bool(reading: Reading[bool]) -> bool | None:
    return None if reading.why else not reading.is_absent


def _unknown(account: Address, why: str) -> ProviderStatus:
    return ProviderStatus(
        account=account,
        registered=None,
        whitelisted=None,
        coin_wei=None,
        tokens_wei=None,
        stake_wei=None,
        stake_needed_wei=None,
        unbonding_wei=None,
        withdrawable_wei=None,
        next_due_s=0,
        read_at_ms=read_clock().wall_ms,
        problem=clipped(why, limits.TEXT_MAX_BYTES),
    )
