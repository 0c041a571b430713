"""A machine that was a node once, as its agent leaves the data directory."""

import json
from pathlib import Path
from typing import Any, cast

import attrs
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.start_record import StartRecord, write_start
from p2pool.drivers.keys import keystore
from p2pool.model.ids import NodeId
from p2pool.wire.account import HasKey
from tests.chain.conftest import World
from tests.cli.shell import PASSPHRASE, write_config


@attrs.frozen
class Machine:
    """A directory of a node, and its provider's key."""

    world: World
    directory: Path
    node_id: NodeId
    provider: Path

    @classmethod
    def of(cls, world: World, provider: KeyWriter, node_id: NodeId, place: Path) -> "Machine":
        """Keys, a store, a record of the start, and a volume."""
        account = cast(HasKey, provider._account)
        stored: Any = Account.encrypt(account.key, PASSPHRASE, "pbkdf2", 1)
        (place / "provider.json").write_text(json.dumps(stored))
        (place / "passphrase").write_text(PASSPHRASE)
        config, directory = place / "p2pool.toml", place / "agent"
        write_config(config, world, world.chain.rpc.endpoints[0].url, world.pool_id)
        config.write_text(config.read_text() + "\n[runtime]\nkind = 'process'\n")
        directory.mkdir(mode=0o700)
        (volume := directory / "containers" / "volumes" / "pool" / "data").mkdir(parents=True)
        (volume / "file").write_text("kept")
        keystore.load_or_make_peer_seed(directory)
        for name in ("store.db", "store.db-wal", "node.json", "api.token"):
            (directory / name).write_text(name)
        record = StartRecord(
            node_id=address_text(node_id),
            config=str(config),
            node_key=str(directory / "node.json"),
            provider_key=str(place / "provider.json"),
        )
        write_start(directory, record)
        return cls(world, directory, node_id, place / "provider.json")

    async def __call__(self, *words: str, key: Path | None = None) -> Result:
        """The result of `p2pool node rekey ...`."""
        line = ["node", "rekey", "--data-dir", str(self.directory), "--light", *words]
        line += ["--key", str(key or self.provider)]
        environment = {"P2POOL_PASSPHRASE_FILE": str(self.directory.parent / "passphrase")}
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, line, env=environment)
        )

    async def in_pool(self) -> bool:
        """Whether the chain has the node in the pool."""
        return await self.world.chain.in_pool(self.world.pool_id, self.node_id)
