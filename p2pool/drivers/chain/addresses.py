"""The contracts' addresses: one record, from the configuration, never compiled in."""

import attrs

from p2pool.model.ids import Address


@attrs.frozen
class Addresses:
    """The contracts' addresses on one chain."""

    network: Address
    pool: Address
    registry: Address
    stakes: Address
    domains: Address
    token: Address
    root: Address | None = None
    """The PoolRoot contract, where it does not lie at the address that follows from the pool's."""
