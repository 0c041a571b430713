"""A desk where people of the test's chain type commands, each with a key file of their own."""

import json
from pathlib import Path
from typing import Any, Self

import attrs
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import P2poolError
from p2pool.model.ids import NodeId
from tests.chain.conftest import World
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, write_config


@attrs.define
class Desk:
    """Commands of people on the test's chain."""

    world: World
    directory: Path
    gas: dict[str, int] = attrs.field(factory=dict)
    """What each function took, of what was sent by `agrees`."""

    @classmethod
    def of(cls, world: World, directory: Path) -> Self:
        """A desk with the test's pool in its configuration."""
        url = world.chain.rpc.endpoints[0].url
        write_config(directory / "p2pool.toml", world, url, world.pool_id)
        (directory / "passphrase").write_text(PASSPHRASE)
        return cls(world, directory)

    async def __call__(self, key: Path | None, *words: str, answer: str = "") -> Result:
        """The result of `p2pool ...`."""
        environment = {
            "P2POOL_CONFIG": str(self.directory / "p2pool.toml"),
            "P2POOL_KEY": "" if key is None else str(key),
            "P2POOL_PASSPHRASE_FILE": str(self.directory / "passphrase"),
            "P2POOL_AGENT": str(self.directory / "no agent here"),
        }
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, list(words), env=environment, input=answer)
        )

    async def told(self, key: Path | None, *words: str) -> Any:
        """The document of a command that has to succeed."""
        result = await self(key, *words, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        return held(result.stdout)

    async def refused(self, key: Path | None, *words: str) -> P2poolError:
        """The error of a command that has to fail."""
        result = await self(key, *words)
        assert isinstance(result.exception, P2poolError), (result.output, result.exception)
        return result.exception

    async def agrees(self, key: Path, *words: str, sends: int | None = None) -> Any:
        """The document of a command that sent exactly what its dry run had shown: the same bytes to
        the same contracts, from the same account, for about the same gas. `sends`: so many."""
        dry = await self.told(key, *words, "--dry-run")
        done = await self.told(key, *words)
        shown = [one for one in dry["steps"] if one["kind"] == "transaction" and one["ready"]]
        sent = [one for one in done["steps"] if one["kind"] != "wait" and one["transaction"]]
        assert len(shown) == len(sent) == len(dry["would_send"])
        assert sends is None or len(sent) == sends, done
        for expected, one in zip(shown, sent, strict=True):
            rpc = self.world.chain.rpc
            found = await rpc.request("eth_getTransactionByHash", one["transaction"])
            assert found["input"] == expected["calldata"]
            assert (found["to"], found["from"]) == (expected["to"], dry["account"])
            assert int(found["value"], 16) == int(expected["value_wei"])
            assert expected["gas_from"] in ("simulated", "estimated")
            assert one["gas_used"] <= expected["gas"] <= 2 * one["gas_used"], one
            self.gas[one["function"].partition("(")[0]] = one["gas_used"]
        assert (dry["dry_run"], done["dry_run"]) == (True, False)
        return done

    async def again(self, key: Path, *words: str) -> Any:
        """The document of a command that has nothing left to send, and sends nothing."""
        done = await self.told(key, *words)
        sent = [one for one in done["steps"] if one["kind"] != "wait" and one["transaction"]]
        assert (sent, done["transaction"]) == ([], None)
        return done

    def key_of(self, holder: Any, name: str) -> Path:
        """A key file of an account of the test's chain."""
        return self.write(bytes(holder._account.key), name)

    def write(self, secret: bytes, name: str) -> Path:
        """A key file."""
        path = self.directory / name
        stored: Any = Account.encrypt(secret, PASSPHRASE, "pbkdf2", 1)
        path.write_text(json.dumps(stored))
        return path

    def node(self, name: str) -> tuple[Path, NodeId, str]:
        """A new node: its key file, its id, and that as text."""
        account = new_account()
        node_id = NodeId(bytes.fromhex(account.address[2:]))
        return self.write(bytes(account.key), name), node_id, address_text(node_id)

    async def invite(self, node_id: NodeId, pool_id: int | None = None) -> Path:
        """A file with the manager's invite, as `p2pool pool invite --json` writes it."""
        from p2pool.codec.json.requests import invite_json

        pool = self.world.pool_id if pool_id is None else pool_id
        made = self.world.manager.sign_invite(0, pool, node_id, await self.world.soon())
        path = self.directory / f"invite-{node_id.hex()[:8]}-{made.nonce}.json"
        path.write_text(json.dumps(invite_json(made)))
        return path

    async def pass_time(self, seconds: int) -> None:
        """Let the chain's clock go on."""
        rpc = self.world.chain.rpc
        await rpc.request("evm_increaseTime", hex(seconds))
        await rpc.request("anvil_mine", "0x1")

    async def nonce(self, writer: KeyWriter) -> int:
        """How many transactions an account has sent."""
        rpc = self.world.chain.rpc
        return await rpc.quantity("eth_getTransactionCount", address_text(writer.address), "latest")
