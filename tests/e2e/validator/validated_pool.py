"""A pool whose nodes no test admits: a validator's process does, by its command and its policy.

Intuition: agents come up with processors that the machine calls GPUs, and register. A person
whitelists their providers; from there on the validator has to find them, challenge them and
validate them, and it is killed on the way, once it has decided. Then the manager invites.
"""

import json
import signal
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.codec.json.envelope import unwrapped
from p2pool.codec.json.hex import address_text
from p2pool.dev.admission import INVITE_LIFETIME_S
from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import new_account
from p2pool.dev.engine.engine import Engine
from p2pool.dev.pool import DevPool
from p2pool.dev.processes import Child, spawn
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.config.schema import AgentConfig, ChallengeConfig
from p2pool.model.errors import Malformed
from p2pool.model.ids import Address, NodeId
from p2pool.validator.journal.checked_lines import told_by
from tests.e2e.conftest import p2pool

HONEST_GPUS, CHEAT_GPUS = ("CPU-0",), ("CPU-2", "CPU-3")
ONE_PROVIDER = ("agent-2", "agent-3")
"""Nodes of one provider, which are challenged at the same time."""
GPUS = {"agent-1": HONEST_GPUS, "agent-2": ("CPU-1",), "agent-3": CHEAT_GPUS}
DEVICES = 4
VALIDATOR = "validator"
PASSES = 2
TURNS_MAX = 6
UNASKED = ("offline", "inconclusive")
"""What says that a node was not challenged: it was not reached, or could not ask the chain."""
PENALTY_PERCENT = 5
"""Of the stake, for what the node's own signature proves."""

POLICY = f"""
[policy]
dry_run = false

[validate]
passes = {PASSES}
apart_s = 0
passes_after_act = {PASSES}

[budget]
coin_per_day = "1"
""" + "".join(
    f'\n[rules.{kind}]\nact = "soft"\ntimes = 1\nwithin_s = 86400\npenalty_percent = {percent}\n'
    for kind, percent in (("wrong_product", PENALTY_PERCENT), ("short_memory", 0), ("late", 0))
)


@attrs.define
class Story:
    """What happened until all nodes were members. `killed_with`: the lines of the journal of acts
    that the validator had written when it was killed; `sent`: what its account had sent after."""

    killed_with: list[dict[str, Any]] = attrs.field(factory=list)
    sent_before: int = 0
    sent: int = 0


@attrs.define
class ValidatedPool(DevPool):
    """Three agents, two of one provider. `honest`: the digest of the reference prover's image;
    `cheats`: of others, by what they do. The provider of two prefers to cheat: its last agent
    allows all of them, the other one what shares a card. `passed`: whether all did in the last
    turn."""

    honest: str = ""
    cheats: dict[str, str] = attrs.field(factory=dict)
    figures: Path = Path()
    policy: Path = Path()
    story: Story = attrs.field(factory=Story)
    engine: Engine | None = None
    wait_s: float = 600.0
    passed: bool = False
    _account: Any = attrs.field(factory=new_account)

    def provider_account(self, name: str) -> Any:
        """Two agents have one."""
        return self._account if name in ONE_PROVIDER else new_account()

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """Each has GPUs of its own, and takes challenges."""
        if name not in GPUS:
            return config
        allowed = {"agent-2": ("shares",), "agent-3": tuple(self.cheats)}.get(name, ())
        images = (*(self.cheats[one] for one in allowed), self.honest)
        challenge = ChallengeConfig(images=images, apart_s=0, per_hour=3600)
        resources = attrs.evolve(config.resources, gpus=None, gpu_uuids=GPUS[name])
        return attrs.evolve(config, challenge=challenge, resources=resources)

    @property
    def chain(self) -> PoolContracts:
        """The contracts."""
        return PoolContracts.of(self.settings.chain)

    @property
    def settings(self) -> AgentConfig:
        """What an agent's file says, but for its resources."""
        assert self._config is not None
        return self._config

    @property
    def validator_account(self) -> Address:
        """The account that holds the role."""
        assert self._deployment is not None
        return self._deployment.federator.address

    @property
    def engine_url(self) -> str:
        """Where the machine's engine listens."""
        assert self.engine is not None
        return self.engine.url

    def provider_status(self, agent: DevAgent) -> Any:
        """What `provider status` says of an agent's provider."""
        (told,) = self.told("provider", "status", address_text(agent.provider))
        return told

    @property
    def data(self) -> Path:
        """The validator's directory."""
        return self.directory / "desk" / "validator"

    def environment(self, key: str = VALIDATOR) -> dict[str, str]:
        """Where a validator's commands find the pool."""
        keys = self.directory / "keys"
        return {
            "P2POOL_CONFIG": str(self._config_path("agent-1")),
            "P2POOL_KEY": str(keys / f"{key}.json"),
            "P2POOL_PASSPHRASE_FILE": str(keys / "passphrase"),
            "P2POOL_AGENT": str(self.directory / "desk"),
        }

    def told(self, *words: str, key: str = VALIDATOR, code: int = 0) -> list[Any]:
        """What a command's lines of JSON say, which has to end with this code."""
        done = p2pool(*words, "--json", **self.environment(key))
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-2000:])
        return _documents(done.stdout or done.stderr)

    def validator(self, *words: str) -> Child:
        """A validator's process, which goes on until it is ended."""
        options = ("--policy", self.policy, "--figures", self.figures, "--data-dir", self.data)
        child, _ = spawn(
            VALIDATOR,
            ["validator", "run", *map(str, options), "--json", "--log-format", "json", *words],
            self.directory / "logs",
            self.environment(),
        )
        self._adopt(child)
        return child

    def once(self, *images: str) -> dict[str, Any]:
        """One turn of a process, which accepts these provers: what it found, by node. Whom it did
        not challenge, as on a machine that is busy, has another turn."""
        found: dict[str, Any] = {}
        for _ in range(TURNS_MAX):
            found = {**self.turn(*images), **found}
            found = {one: told for one, told in found.items() if told["finding"] not in UNASKED}
            if len(found) == len(self.agents):
                self.passed = {one["finding"] for one in found.values()} == {"passed"}
                return found
        raise AssertionError(f"{TURNS_MAX} turns reached {len(found)} nodes alone.")

    def turn(self, *images: str) -> dict[str, Any]:
        """One turn, whomever it reaches."""
        options = ("--policy", self.policy, "--figures", self.figures, "--data-dir", self.data)
        named = [word for image in images for word in ("--image", image)]
        words = ("validator", "run", "--once", "--every", "1s", *map(str, options), *named)
        lines = self.told(*words)
        return {one["node"]: one for one in lines if "finding" in one}

    def check(self, agent: DevAgent, *words: str, code: int = 0, key: str = VALIDATOR) -> Any:
        """A check by hand; one that did not reach the node is made again."""
        options = ("--figures", str(self.figures), *words)
        for _ in range(TURNS_MAX):
            done = p2pool(
                *("validator", "check", agent.node_id, *options, "--json"), **self.environment(key)
            )
            told = _documents(done.stdout or done.stderr)[-1]
            if told.get("finding") not in UNASKED and told.get("code") != "unavailable":
                break
        assert done.returncode == code, (done.returncode, told, done.stderr[-2000:])
        return told

    def check_code(self, agent: DevAgent) -> int:
        """How a check by hand ends."""
        options = ("--figures", str(self.figures), "--image", self.honest)
        done = p2pool("validator", "check", agent.node_id, *options, **self.environment())
        return done.returncode

    def acts(self) -> list[dict[str, Any]]:
        """The lines of the journal of acts, as they are now."""
        try:
            lines = (self.data / "acts.journal").read_bytes().splitlines()
        except OSError:
            return []
        return [told for line in lines for told in (_read(line),) if "act_id" in told]

    async def sent(self) -> int:
        """How many transactions the validator's account has sent."""
        who = address_text(self.validator_account)
        return await self.chain.rpc.quantity("eth_getTransactionCount", who, "latest")

    async def validate(self, agent: DevAgent) -> bool:
        """By a transaction, whatever the validator thinks of it: once there is stake for it."""
        assert self._deployment is not None
        writer, node_id = self._deployment.federator, node_id_of(agent)
        await self.chain.validate_node(writer, agent.provider, node_id)
        return await self.is_validated(agent)

    async def is_validated(self, agent: DevAgent) -> bool:
        """Whether the registry says so."""
        info = await self.chain.node(node_id_of(agent))
        return info is not None and info.validated

    # --- the story ------------------------------------------------------------------------------

    async def _admit(self) -> None:
        """From registered to member."""
        await self._whitelist()
        await self.wait("nodes in the registry", self._registered)
        self.story.sent_before = await self.sent()
        await self._killed_on_the_way()
        child = self.validator("--image", self.honest)
        await self.wait("validated nodes", self._validated)
        await self.wait("acts that are over", self._acts_over)
        await child.stop()
        self.story.sent = await self.sent()
        for agent in self.agents:
            await self._invite(agent)
        await self.wait("members", self._in_pool)
        self.save()

    async def _whitelist(self) -> None:
        providers = [agent.provider for agent in self.agents]

        async def exist() -> bool:
            return all([await self.chain.provider_exists(one) for one in providers])

        await self.wait("providers", exist)
        names = map(address_text, dict.fromkeys(providers))
        await trio.to_thread.run_sync(lambda: self.told("validator", "whitelist", *names))

    async def _registered(self) -> bool:
        return all([await self.chain.node(node_id_of(one)) for one in self.agents])

    async def _killed_on_the_way(self) -> None:
        """A process that is killed as soon as it has decided to do something."""
        child = self.validator("--image", self.honest)

        async def decided() -> bool:
            assert child.alive, child.last_words()
            return bool(self.acts())

        await self.wait("a decision of the validator", decided)
        child.signal(signal.SIGKILL)
        await child.wait_gone()
        self.story.killed_with = self.acts()

    async def _validated(self) -> bool:
        return all([await self.is_validated(one) for one in self.agents])

    async def _acts_over(self) -> bool:
        states = {one["act_id"]: one["state"] for one in self.acts()}
        return set(states.values()) <= {"done"}

    async def _invite(self, agent: DevAgent) -> None:
        assert self._deployment is not None
        block = await self.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        until_s = int(block["timestamp"], 16) + INVITE_LIFETIME_S
        domain_id = self._deployment.domain_id
        invite = self.manager.sign_invite(domain_id, self.pool_id, node_id_of(agent), until_s)
        await trio.to_thread.run_sync(lambda: agent.client().invite(invite))

    async def _in_pool(self) -> bool:
        pool_id = self.pool_id
        return all([await self.chain.in_pool(pool_id, node_id_of(one)) for one in self.agents])


def verified(document: Path) -> Any:
    """What a stranger reads, who has nothing but the file."""
    done = p2pool("verify", "validation", str(document), "--json", P2POOL_AGENT="/nonexistent")
    assert done.returncode == 0, done.stderr
    return unwrapped(json.loads(done.stdout))


def node_id_of(agent: DevAgent) -> NodeId:
    """Its id as bytes."""
    return NodeId(bytes.fromhex(agent.node_id[2:]))


def _documents(text: str) -> list[Any]:
    """What a command said: one document, or one in each line, among lines for people."""
    try:
        return [unwrapped(json.loads(text))]
    except ValueError:
        lines = (line for line in text.splitlines() if line.startswith("{"))
        return [unwrapped(json.loads(line)) for line in lines]


def _read(line: bytes) -> dict[str, Any]:
    """A line of a journal, which may be half written."""
    try:
        return told_by(line)
    except Malformed:
        return {}


def machine_text(memory_bytes: int, model: str) -> str:
    """The machine's GPUs, as the library that stands in for NVML reads them."""
    lines = (f"gpu CPU-{n} {memory_bytes} 0 0 0 0 {model}" for n in range(DEVICES))
    return "\n".join(lines) + "\n"
