"""One agent: builds its parts, runs them, and shuts them down in order.

Intuition: the core decides, the drivers act. This module builds each driver, feeds its outcomes
into the loop, and hands it the loop's effects. It knows no rules of the pool.

Startup: the agent saves its peer key before anything else, locks and reads the data directory, then
starts network, engine, chain and API together. Shutdown: it hands leadership on, then
everything is cancelled; containers run on unless asked otherwise.
Source: docs/ARCHITECTURE.md, "One step"; docs/design/identities.md, "Keys".
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from secrets import token_bytes

import trio
from nacl.signing import SigningKey

from p2pool import __version__
from p2pool.agent.api_port import AgentApi
from p2pool.agent.clock import read_clock
from p2pool.agent.containers.disk_gc import DiskCollector
from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.containers.runtime_choice import open_runtime, provers_of
from p2pool.agent.containers.secret_opener import SecretOpener
from p2pool.agent.contract_judge import ContractJudge
from p2pool.agent.effect_runner import Drivers, EffectRunner
from p2pool.agent.join.driver import JoiningReport, join_pool, provider_writer
from p2pool.agent.join.provider_watch import ProviderWatch
from p2pool.agent.loop import Loop
from p2pool.agent.notify.message import Origin
from p2pool.agent.notify.notifier import Notifier
from p2pool.agent.observers import (
    check_first_block,
    follow_chain,
    learn_first_block,
    sample_machine,
    tell_addresses,
)
from p2pool.agent.options import AgentOptions
from p2pool.agent.store_restart import first_of, live_with_store, stopped_within
from p2pool.agent.streams.challenge import ChallengeServer, Identity
from p2pool.agent.streams.evidence import EvidenceExchange
from p2pool.agent.streams.intake import StreamIntake
from p2pool.agent.streams.leases import NodeGpus
from p2pool.agent.streams.members import MemberStreams
from p2pool.agent.streams.prover_runs import ProverRuns
from p2pool.agent.streams.role_reader import RoleReader
from p2pool.agent.streams.validator_check import ValidatorCheck
from p2pool.agent.telemetry.log_streams import LogStreams
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.agent.wire.ingress import Ingress, pump
from p2pool.agent.wire.sealer import Sealer
from p2pool.agent.work.journal import PieceJournal
from p2pool.agent.work.reporter import WorkReporter
from p2pool.api.server import ApiSettings, serve_api
from p2pool.codec.json.hex import address_text
from p2pool.core.context import NodeConfig
from p2pool.core.inputs import StopAsked, VerdictReceived
from p2pool.core.node import Node
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.endpoints.heads import Heads
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.validator.roles import Role, holds_role
from p2pool.drivers.keys.keystore import load_or_make_peer_seed, load_or_make_token, peer_key_of
from p2pool.drivers.keys.token_file import TokenFile
from p2pool.drivers.net.events import KnownPeer, NetConfig
from p2pool.drivers.net.network import Network
from p2pool.drivers.store.datadir import DataDirLock, prepare_directory
from p2pool.drivers.store.evidence_files import EvidenceFiles
from p2pool.drivers.store.owner import first_block_of
from p2pool.drivers.store.store import Store
from p2pool.drivers.webhooks.receiver import Receiver, load_receivers
from p2pool.model import limits
from p2pool.model.data_dir import EVIDENCE_FOLDER
from p2pool.model.errors import P2poolError, Superseded
from p2pool.model.ids import Address, PoolRef
from p2pool.model.log.raft import Voter
from p2pool.model.messages.challenge import ChallengeProposed
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.registry import Channel
from p2pool.model.messages.verdicts import EvidenceOffered, EvidenceRequested
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.runtime import ContainerRuntime
from p2pool.model.states import RaftRole
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.binding import make_binding, renewal_due
from p2pool.wire.enclosures import open_one
from p2pool.wire.signers import SignerCache

log = get_logger(__name__)


def topic(pool: PoolRef, channel: Channel) -> str:
    """A gossip topic of a pool (docs/design/protocol.md, "Channels")."""
    return f"/p2pool/1/{pool.chain_id}/{pool.contract.hex()}/{pool.pool_id}/{channel.value}"


class Agent:
    """An agent, built but not yet running."""

    def __init__(
        self,
        options: AgentOptions,
        seed: bytes,
        store: Store,
        runtime: ContainerRuntime,
        binding: PeerBinding,
        receivers: tuple[Receiver, ...] = (),
    ) -> None:
        """Build all parts; nothing runs yet. `binding`: of the node's two keys, just signed.
        `receivers`: who is sent the pool's events."""
        config, restored = options.config, store.restored
        self.options, self.pool = options, config.pool_ref
        now = read_clock()
        self.key = SigningKey(seed)
        me = Voter(options.node_id, peer_key_of(seed), restored.store_id)
        # A request comes in an append, in an order and in reports: each signature is checked once.
        signers = SignerCache(self.pool)
        about = NodeConfig(
            pool=self.pool,
            me=me,
            incarnation=restored.incarnation,
            agent_version=__version__,
            ended_keep_ms=config.runtime.ended_keep_s * 1000,
            opens=partial(open_one, self.pool),
            recovers=signers.signers,
            trusted=options.trusted,
            secret_keys=SecretOpener(self.key),
        )
        self.node = Node(about, restored, int.from_bytes(seed[:8], "big") ^ now.wall_ms, now)
        dispatch = self.node.dispatch
        self.ingress = Ingress(
            self.pool,
            self.node.context.bindings.key_of,
            dispatch.worth_verifying,
            dispatch.is_participant_or_member,
            signers,
        )
        self.sealer = Sealer(
            pool=self.pool,
            node_id=me.node_id,
            peer_key=me.peer_key,
            incarnation=restored.incarnation,
            signing_key=self.key,
        )
        self.binding = binding
        self.node.introduce(binding)
        self.loop, self.store = Loop(self.node, store), store
        self.superseded = trio.Event()
        self.network = Network(
            self._net_config(seed),
            hello_bytes=self._hello,
            check_gossip=self.ingress.check_gossip,
            knows_origin=self.ingress.knows_origin,
            accept_logs=lambda key, stream: self.log_streams.serve(key, stream),
            accept_challenges=lambda key, stream: self.streams.serve(key, stream),
        )
        self.runtime = runtime
        self._wire(int.from_bytes(seed[16:24], "big"), receivers)

    def _wire(self, random_seed: int, receivers: tuple[Receiver, ...]) -> None:
        """Build what carries the node's effects out."""
        self.contract_judge = ContractJudge(self.pool, self.loop)
        self.task_metrics = TaskMetrics(self.options.directory)
        self.log_streams = LogStreams(
            node=self.node,
            runtime=self.runtime,
            sealer=self.sealer,
            network=self.network,
            metrics=self.task_metrics,
            contract_judge=self.contract_judge,
        )
        self.streams = StreamIntake(self.sealer, partial(self.ingress.streamed, Channel.CHALLENGE))
        self._wire_evidence()
        self._wire_challenges()
        self.metrics = Metrics(lambda: self.loop.steps, lambda: self.loop.queued)
        self.api = AgentApi(
            loop=self.loop,
            logs=self.log_streams,
            metrics=self.metrics,
            runtime=self.runtime,
            contract_judge=self.contract_judge,
            evidence=self.evidence,
        )
        config, origin = self.options.config, Origin(self.pool, self.options.node_id)
        random = Random(random_seed)
        self.notifier = Notifier(receivers, self.api.event_hub, self.store, origin, random)
        self.api.notified = lambda: self.notifier.statuses
        self.joining = JoiningReport(self.loop)
        self.provider_watch = ProviderWatch(self.options, self.loop)
        self.api.joins = lambda: self.joining.status
        self.api.challenged = lambda: self.challenges.status
        self.api.provided = lambda: self.provider_watch.status
        journal = PieceJournal.of(self.options.directory, self.options.node_id)
        self.work = WorkReporter(self.options, self.loop, self.runtime, journal)
        self.api.worked = lambda: self.work.status
        self.task_metrics.heard = self.work.take_line
        self._add_counters()
        self.executor = self._executor()
        self.executor.at_end = self.work.take_end
        self.disk_collector = DiskCollector(self.runtime, self.loop, config.volumes)
        self.effects = EffectRunner(self._drivers())

    def _wire_evidence(self) -> None:
        """Build what keeps the evidence of verdicts, and asks who is a validator."""
        self.role_reader = RoleReader(self.loop)
        members = MemberStreams(
            self.node.context,
            self.network,
            self.sealer,
            partial(self.ingress.streamed, Channel.CHALLENGE),
        )
        self.evidence = EvidenceExchange(
            EvidenceFiles(self.options.directory / EVIDENCE_FOLDER),
            self.node.context.validations.named,
            members.likely_holders,
            members.open,
            self.node.context.roster.belongs,
        )
        self.streams.serve_by(EvidenceOffered, self.evidence.take)
        self.streams.serve_by(EvidenceRequested, self.evidence.give)

    def _wire_challenges(self) -> None:
        """Build what serves validators."""
        options = self.options
        allowed = options.config.challenge
        self.validators = ValidatorCheck(self.ingress.guests.admit)
        self.prover_runs = ProverRuns(provers_of(self.runtime), allowed.images)
        self.challenges = ChallengeServer(
            Identity(self.pool, options.node_id, self.key, token_bytes),
            allowed,
            NodeGpus(self.node),
            self.prover_runs,
            self.validators,
        )
        self.challenges.heard = self._hear_verdict
        self.streams.serve_by(ChallengeProposed, self.challenges.serve)

    def _hear_verdict(self, signed: SignedVerdict) -> None:
        """What a validator concluded of this node: where there is no room now, others tell it."""
        self.loop.offer(VerdictReceived(signed))

    def _drivers(self) -> Drivers:
        return Drivers(
            sealer=self.sealer,
            network=self.network,
            api=self.api,
            executor=self.executor,
            contract_judge=self.contract_judge,
            role_reader=self.role_reader,
            loop=self.loop,
        )

    def _add_counters(self) -> None:
        """Have the metrics tell what each part counts."""
        self.metrics.add("network", lambda: self.network.counters)
        self.metrics.add("gate", lambda: self.ingress.counters)
        self.metrics.add("task_metrics", lambda: self.task_metrics.counters)
        self.metrics.tasks = self.task_metrics.all
        self.metrics.add("api_connections", lambda: self.api.connections)
        self.metrics.add("streams", lambda: self.streams.counters)
        self.metrics.add("evidence", lambda: self.evidence.counters)
        self.metrics.add("challenges", lambda: self.challenges.counters)
        self.metrics.add("webhooks", lambda: self.notifier.counters)
        self.metrics.add("work", lambda: self.work.counters)

    def _executor(self) -> ContainerExecutor:
        opener = SecretOpener(self.key)
        make_way = self.challenges.give_way
        return ContainerExecutor(
            self.runtime, self.loop, self.task_metrics, self.metrics, opener, make_way
        )

    # --- identity ---------------------------------------------------------------------------------

    def _hello(self) -> bytes:
        me = self.node.context.config.me
        addresses = self.node.parts.machine.addresses or self.network.addresses()
        hello = Hello(__version__, self.binding, me.store_id, addresses[: limits.ADDRESSES_MAX])
        return self.sealer.seal(hello, read_clock())[1]

    async def _renew_binding(self) -> None:
        """Renew the binding when it is due by the wall clock, and tell the connected peers."""
        while True:
            await trio.sleep(limits.BINDING_CHECK_S)
            if not renewal_due(self.binding, read_clock().wall_ms // 1000):
                continue
            try:
                self.binding = await fresh_binding(self.options, self.key)
            except P2poolError as error:
                log.warning("the node's signer does not renew the peer binding", why=str(error))
                continue
            self.node.introduce(self.binding)
            for peer_key in self.network.connected():
                self.network.greet(peer_key)

    def _net_config(self, seed: bytes) -> NetConfig:
        config = self.options.config.network
        known = self.node.context.bindings.known.values()
        return NetConfig(
            seed=seed,
            listen=config.listen,
            beat_topic=topic(self.pool, Channel.BEAT),
            announce_topic=topic(self.pool, Channel.ANNOUNCE),
            bootstrap=config.bootstrap,
            announce=config.announce,
            peers=tuple(KnownPeer(p.binding.peer_key, p.addresses) for p in known if p.addresses),
            random_seed=int.from_bytes(seed[8:16], "big"),
        )

    # --- life -------------------------------------------------------------------------------------

    async def run(self, token: str, tokens: TokenFile, started: Callable[[str], None]) -> None:
        """Run until cancelled; `started` receives the API's URL. `tokens`: the same for all runs of
        a process, since it knows which ones were revoked while the disk was full."""
        config = self.options.config
        chain = PoolContracts.of(config.chain)
        chain.rpc.first_block = first_block_of(self.store.restored)
        url = config.chain.websocket
        heads = Heads(url, config.chain.id) if url else None
        follower = RosterFollower(
            RosterReader(chain, config.pool.id),
            config.chain.confirmations,
            final_depth=config.chain.final_depth,
            heads=heads,
            heard=self.provider_watch.hear,
        )
        self.metrics.add("chain_calls", chain.rpc.calls)
        self.metrics.add("chain_reads", lambda: follower.counters)
        settings = ApiSettings(
            bind=config.api.bind,
            hosts=config.api.hosts,
            certificate=config.api.tls_certificate,
            private_key=config.api.tls_key,
            metrics=config.metrics.enabled,
            tls_bind=config.api.tls_bind,
            path_prefix=config.api.path_prefix,
        )
        async with self.network.running(), trio.open_nursery() as nursery:
            self.validators.asks = partial(self._holds_role, chain)
            nursery.start_soon(self.prover_runs.run)
            nursery.start_soon(self.executor.run)
            nursery.start_soon(self.task_metrics.run)
            nursery.start_soon(self.disk_collector.run)
            nursery.start_soon(self.contract_judge.run, chain.rpc)
            nursery.start_soon(self.role_reader.run, partial(self._holds_role, chain))
            nursery.start_soon(self.evidence.run)
            url = await nursery.start(
                _serve_api, self.api, settings, self.options.directory, token, tokens
            )
            nursery.start_soon(self.loop.run, self.effects.run)
            nursery.start_soon(pump, self.network.events, self.ingress, self.loop.feed)
            nursery.start_soon(follow_chain, follower, self.loop, self.network)
            if heads is not None:
                nursery.start_soon(heads.run)
            nursery.start_soon(tell_addresses, self.network, self.loop)
            nursery.start_soon(
                sample_machine, config, self.options.directory, self.executor.kind, self.loop
            )
            nursery.start_soon(self._renew_binding)
            nursery.start_soon(learn_first_block, chain.rpc, self.store)
            nursery.start_soon(self._watch_superseded)
            nursery.start_soon(self.notifier.run)
            writer = provider_writer(self.options, chain, self.joining)
            nursery.start_soon(
                partial(join_pool, self.options, self.loop, self.effects, chain, self.runtime),
                *(writer, self.joining),
            )
            nursery.start_soon(self.work.run, chain, writer)
            nursery.start_soon(self.provider_watch.run, chain)
            log.info(
                "agent started",
                node=address_text(self.node.context.me),
                api=url,
                addresses=list(self.network.addresses()),
            )
            started(url)
            await trio.sleep_forever()

    async def _holds_role(self, chain: PoolContracts, account: Address) -> bool:
        """Whether an account is a validator at a final block. ChainUnavailable: nobody says."""
        reading = self.node.context.roster.reading
        by_depth = self.options.config.chain.final_depth is not None and reading is not None
        block = reading.final.block_number if by_depth and reading is not None else "finalized"
        return not (await holds_role(chain, account, Role.VALIDATOR, block)).is_absent

    async def _watch_superseded(self) -> None:
        """Tell whoever lives with this agent that another one took its place."""
        while self.node.context.bindings.superseded is None:
            await self.loop.wait_stepped()
        self.superseded.set()

    async def retire(self) -> None:
        """Before shutdown: hand leadership on, and stop the tasks if the options ask for it."""
        with trio.move_on_after(limits.RETIRE_DEADLINE_MS / 1000):
            await self.loop.put(StopAsked())
            while (
                self.node.context.pool_log.role is RaftRole.LEADER
                and len(self.node.context.pool_log.configuration.electors) > 1
            ):
                await self.loop.wait_stepped()
        if self.options.stop_tasks:
            await self.executor.stop_all()


async def fresh_binding(options: AgentOptions, key: SigningKey) -> PeerBinding:
    """A binding of a node's two keys from now on. Its signer may wait for a person."""
    pool, now_s = options.config.pool_ref, read_clock().wall_ms // 1000
    sign = partial(make_binding, pool, options.node, key, now_s)
    return await trio.to_thread.run_sync(sign, abandon_on_cancel=True)


async def _serve_api(
    port: AgentApi,
    settings: ApiSettings,
    directory: Path,
    token: str,
    tokens: TokenFile,
    *,
    task_status: "trio.TaskStatus[str]" = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_api(
        *(port, settings, directory, token),
        version=__version__,
        counters=port.connections,
        token_store=tokens,
        task_status=task_status,
    )


async def run_agent(
    options: AgentOptions, stop: trio.Event, started: Callable[[str], None]
) -> None:
    """Run an agent until `stop` is set, anew if its store failed and opens again, or if a run with
    a wrong clock has to end (`core.effects.BeginAnew`); its directory is nobody else's meanwhile.
    Raises whatever prevents the start: DataDirInUse, PortTaken, Misconfigured, BadKey,
    StoreFailed; and Superseded where a later agent runs with its keys."""
    await trio.to_thread.run_sync(prepare_directory, options.directory)
    seed = await trio.to_thread.run_sync(load_or_make_peer_seed, options.directory)
    token = await trio.to_thread.run_sync(load_or_make_token, options.directory)
    receivers = await trio.to_thread.run_sync(load_receivers, options.config.notify)
    urls: list[str] = []
    tokens = TokenFile(options.directory)

    def tell_once(url: str) -> None:
        if not urls:
            started(url)
        urls.append(url)

    async def live(store: Store) -> bool:
        await check_first_block(options, store)
        runtime = await open_runtime(options)
        binding = await fresh_binding(options, SigningKey(seed))
        agent = Agent(
            options=options,
            seed=seed,
            store=store,
            runtime=runtime,
            binding=binding,
            receivers=receivers,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, token, tokens, tell_once)
            await first_of(
                stop, agent.loop.store_failed, agent.effects.begins_anew, agent.superseded
            )
            if agent.superseded.is_set():
                # Its connections keep its later self from all peers. What it ran is that one's.
                await stopped_within(stop, limits.SUPERSEDED_LINGER_MS)
                raise Superseded(
                    f"This agent ends: {agent.node.context.bindings.superseded}.",
                    hint="Each agent needs its own node key and data directory; never copy either,"
                    " and do not start this one again while the other runs.",
                )
            # A node that failed to write is silent: its API says why for a moment.
            if stop.is_set() or await stopped_within(stop, limits.STORE_REOPEN_MIN_MS):
                log.info("agent stopping")
                await agent.retire()
            nursery.cancel_scope.cancel()
        return stop.is_set()

    pool, node_id = options.config.pool_ref, options.node_id
    with DataDirLock(options.directory):
        await live_with_store(
            lambda: Store.open(options.directory, pool, held=True, node_id=node_id), live, stop
        )
