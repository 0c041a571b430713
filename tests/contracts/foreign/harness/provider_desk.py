"""A desk whose people live on the foreign contracts: dry runs are held against what was sent."""

import json
from pathlib import Path

from p2pool.codec.json.requests import invite_json
from p2pool.model.ids import NodeId
from tests.cli.provider.desk import Desk
from tests.contracts.foreign.conftest import ForeignWorld


class ForeignDesk(Desk):
    """A desk whose manager invites into a pool of the foreign contracts' second domain."""

    @property
    def there(self) -> ForeignWorld:
        """Its world, with what only the foreign contracts have."""
        assert isinstance(self.world, ForeignWorld)
        return self.world

    async def invite(self, node_id: NodeId, pool_id: int | None = None) -> Path:
        """A file with the manager's invite, as `p2pool pool invite --json` writes it."""
        world = self.there
        pool, domain = world.pool_id if pool_id is None else pool_id, world.network.domain_id
        made = world.manager.sign_invite(domain, pool, node_id, await world.soon())
        path = self.directory / f"invite-{node_id.hex()[:8]}-{made.nonce}.json"
        path.write_text(json.dumps(invite_json(made)))
        return path
