"""Plans of a pool's own terms, by its creator or manager: how many compute units it takes.

Intuition: a pool that is full keeps its members and takes nobody. A higher limit makes room, and a
lower one puts nobody out, so whoever lowers it below what is in use is told that.
"""

from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.founding import check_keeper
from p2pool.drivers.chain.provider.facts import PoolFacts
from p2pool.drivers.chain.provider.plan import Call, Plan
from p2pool.model.errors import Conflict
from p2pool.model.ids import Address
from p2pool.model.states import PoolStatus


def limit_plan(at: Addresses, pool: PoolFacts, keeper: Address, units: int) -> Plan:
    """The most compute units of all nodes together; 0: as many as come. Refuses a pool that has
    ended: nobody joins it any more."""
    info = pool.need()
    check_keeper(info, keeper)
    if info.status is PoolStatus.COMPLETED:
        raise Conflict(
            f"Pool {pool.pool_id} has ended, so nobody joins it any more.",
            hint="Create another one: p2pool pool create.",
        )
    notes = _notes(pool, units)
    if info.compute_limit == units:
        return Plan(keeper, (), notes)
    purpose = f"Let pool {pool.pool_id} take {_text(units)} instead of {_text(info.compute_limit)}."
    change = Call(
        name="limit set",
        purpose=purpose,
        to=at.pool,
        function=function("ComputePool", "updateComputeLimit"),
        arguments=(pool.pool_id, units),
    )
    return Plan(keeper, (change,), notes)


def _text(units: int) -> str:
    return f"{units} units" if units else "any number of units"


def _notes(pool: PoolFacts, units: int) -> tuple[str, ...]:
    """What a limit below the units in use means. It is advice: an endpoint that cannot say how many
    there are keeps nobody from setting the limit."""
    used = pool.used_units.value
    if not units or used is None or used <= units:
        return ()
    return (
        f"The pool has {used} units already: no node is put out, and none comes in before that many"
        " have left.",
    )
