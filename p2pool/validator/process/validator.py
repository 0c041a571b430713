"""The validator's process: it follows the nodes of a pool, challenges them, and acts by its policy.

Intuition: three things go on beside each other: who there is (`watch`), whose turn it is
(`rota`), and what follows from what was found (`turns`). A challenge takes a minute and a
transaction several, so neither waits for the other; what they share is on the disk.

Invariants: the account's role is read before anything else; nothing that the world does ends the
process but the loss of that role, a disk that is damaged, or a signal, and a signal ends it at
once: what is on its way is in a journal. One process at a time uses a directory.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import attrs
import trio
from nacl.signing import SigningKey

from p2pool.codec.json.hex import address_text
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.validator.roles import Roles
from p2pool.drivers.keys.keystore import load_or_make_peer_seed
from p2pool.drivers.net.peers.addresses import parse_full_address
from p2pool.drivers.store.datadir import prepare_directory
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    Misconfigured,
    NotAllowed,
    NotFound,
    P2poolError,
    Unavailable,
)
from p2pool.model.ids import Address, NodeId
from p2pool.model.peer_binding import PeerBinding
from p2pool.validator.challenge.outcome import sentence_of
from p2pool.validator.journal.act_journal import ActJournal
from p2pool.validator.journal.act_record import Owner
from p2pool.validator.judging.rounds import WorkChain, WorkJudging
from p2pool.validator.network.guest import GuestNetwork, GuestOptions
from p2pool.validator.network.sealer import wall_ms
from p2pool.validator.policy.findings import Finding
from p2pool.validator.process.challenges import Challenges, Result, record_of
from p2pool.validator.process.metrics import Metrics
from p2pool.validator.process.offers import Offers
from p2pool.validator.process.options import ValidatorOptions
from p2pool.validator.process.others import Others
from p2pool.validator.process.rota import Candidate, Rota
from p2pool.validator.process.scrapes import serve_metrics
from p2pool.validator.process.turns import Turns, executor_of
from p2pool.validator.process.watch import Watch, read_or_none
from p2pool.validator.records.records import Records
from p2pool.wire.binding import make_binding, renewal_due

log = get_logger(__name__)

NOBODY_REACHED = (
    "nobody on the pool's network is reached, so nobody is challenged: name peers to begin with in"
    " [network] bootstrap, and look at this machine's own network"
)
Started = Callable[["ValidatorProcess"], None]


@attrs.define
class ValidatorProcess:
    """Everything of one run. Use `opened`."""

    options: ValidatorOptions
    watch: Watch
    network: GuestNetwork
    records: Records
    turns: Turns
    challenges: Challenges
    offers: Offers
    metrics: Metrics
    rota: Rota
    binding: PeerBinding
    others: Others | None = None
    judging: WorkJudging | None = None
    work: dict[bytes, Finding] = attrs.field(factory=dict)
    busy: set[Address] = attrs.field(factory=set)
    failure: P2poolError | None = None
    _woken: trio.Event = attrs.field(factory=trio.Event)
    _found: trio.Event = attrs.field(factory=trio.Event)
    _unreachable: bool = False
    _cut_off: bool = False

    # --- turns ----------------------------------------------------------------------------------

    async def run(self, started: Started) -> None:
        """Challenge and act until cancelled, or until the account has lost its role."""
        self._tell_start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            await self._serve(nursery)
            started(self)
            nursery.start_soon(self._act_forever, nursery.cancel_scope)
            nursery.start_soon(self.offers.run)
            nursery.start_soon(self._often, self.judge_work)
            nursery.start_soon(self._often, self.hear_others)
            await self.watch.read_once.wait()
            while self.failure is None:
                await self._refresh()
                self._begin_due(nursery)
                await self._rest()
        self._raise_failure()

    async def run_once(self, started: Started) -> list[Result]:
        """Challenge every node once, do what follows, and end."""
        self._tell_start()
        found: list[Result] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            await self._serve(nursery)
            started(self)
            with trio.move_on_after(limits.VALIDATOR_REFRESH_MS / 1000) as waiting:
                await self.watch.read_once.wait()
            if waiting.cancelled_caught:
                self.failure = ChainUnavailable("No endpoint tells who is in the pool.")
                nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint()
            await self._refresh()
            if not await self.network.wait_reached(limits.VALIDATOR_DIAL_MS):
                log.warning(NOBODY_REACHED)
            for nodes in self.rota.due(self.watch.candidates, wall_ms()):
                found += await self._one(nodes)
            await self.judge_work()
            await self.hear_others()
            await self._act(nursery.cancel_scope)
            await self.offers.flush()
            nursery.cancel_scope.cancel()
        self._raise_failure()
        return found

    async def run_for(self, node_id: NodeId) -> Result:
        """Challenge one node, member or not, and offer what comes of it."""
        candidate = await self.watch.read(node_id)
        if candidate is None:
            raise NotFound(
                f"The registry has no node {address_text(node_id)}.",
                hint="Its provider registers it: p2pool node register.",
            )
        self.network.want([node_id])
        if not await self.network.wait_reached(limits.VALIDATOR_DIAL_MS):
            raise Unavailable(
                "Nobody on the pool's network was reached.",
                hint="Name peers to begin with: [network] bootstrap.",
            )
        found = await self.challenges.challenge([attrs.evolve(candidate, is_member=True)])
        if not found:
            raise Unavailable("What came of it could not be kept.", hint="Make room on the disk.")
        self.offers.members = self.network.greeted()
        self.offers.add(found[0].record)
        await self.offers.flush()
        return found[0]

    def _begin_due(self, nursery: trio.Nursery) -> None:
        now_ms, cut_off = wall_ms(), not self.network.reached()
        if cut_off and not self._cut_off and self.watch.candidates:
            log.warning(NOBODY_REACHED)
        self._cut_off = cut_off
        if cut_off:
            return
        for nodes in self.rota.due(self.watch.candidates, now_ms, self.busy):
            if len(self.busy) >= self.options.at_once:
                return
            self.busy.add(nodes[0].provider)
            self.rota.asked([one.node_id for one in nodes], now_ms)
            nursery.start_soon(self._one, nodes)

    async def _rest(self) -> None:
        """Until somebody's turn comes, or something ended; at least a moment."""
        self._woken = trio.Event()
        now_ms = wall_ms()
        next_ms = self.rota.next_ms(self.watch.candidates, now_ms)
        wait_ms = limits.VALIDATOR_REFRESH_MS if next_ms is None else next_ms - now_ms
        # Whoever is busy, or was not reached, has been due for a while.
        wait_ms = min(max(wait_ms, limits.VALIDATOR_PAUSE_MS), limits.VALIDATOR_REFRESH_MS)
        if self._cut_off:
            await self.network.wait_reached(wait_ms)
        with trio.move_on_after(wait_ms / 1000):
            await self._woken.wait()

    async def _one(self, nodes: Sequence[Candidate]) -> list[Result]:
        """The turn of one provider's nodes."""
        provider = nodes[0].provider
        try:
            now = await read_or_none(self.watch, nodes)
            theirs = [one for one in now if one.provider == provider]
            found = await self.challenges.challenge(theirs) if theirs else []
            for one in found:
                self._take(one)
            return found
        finally:
            self.busy.discard(provider)
            self._woken.set()
            self._found.set()

    def _take(self, found: Result) -> None:
        finding = found.record.finding
        worst = finding if found.more is None else found.more.finding
        self.rota.told(worst, found.outcome.retry_at_ms)
        self.turns.left.add(finding.node_id)
        self.offers.add(found.record)
        log.info(
            "challenged" if found.signed is not None else "not challenged",
            node=address_text(finding.node_id),
            provider=address_text(finding.provider),
            finding=worst.kind.value,
            why=sentence_of(found.outcome),
            evidence=finding.finding_id.hex() if found.signed is not None else None,
        )

    async def _refresh(self) -> None:
        """Who there is now; with the chain out of reach it stays as it was."""
        try:
            await self.watch.refresh()
            self._unreachable = False
        except ChainUnavailable as error:
            self.metrics.failed("chain")
            if not self._unreachable:
                log.warning("the chain cannot be read: who waits is unknown", why=error.message)
            self._unreachable = True
        nodes = [one.node_id for one in self.watch.candidates]
        self.network.want(nodes)
        self.offers.members = self.watch.members
        if not self._unreachable:
            self.rota.forget_all_but(nodes)
        if renewal_due(self.binding, wall_ms() // 1000):
            try:
                self.binding = await fresh_binding(self.options, self.network.options.seed)
                self.network.rebind(self.binding)
            except P2poolError as error:
                log.warning("the account did not sign who we are", why=error.message)

    # --- acts -----------------------------------------------------------------------------------

    async def _act_forever(self, scope: trio.CancelScope) -> None:
        while True:
            self._found = trio.Event()
            await self._act(scope)
            with trio.move_on_after(limits.VALIDATOR_REFRESH_MS / 1000):
                await self._found.wait()

    async def _act(self, scope: trio.CancelScope) -> None:
        try:
            await self.turns.turn()
            await trio.to_thread.run_sync(self.records.compact)
            self.metrics.turned()
        except NotAllowed as error:
            self.failure = error
            scope.cancel()
        except P2poolError as error:
            self.metrics.failed("act")
            log.error("a turn failed", why=error.message, hint=error.hint)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    # --- what others say, and work ----------------------------------------------------------------

    def findings(self, nodes: Iterable[NodeId]) -> list[Finding]:
        """All that is known of these nodes, by whomever."""
        wanted = set(nodes)
        known = [one.finding for one in self.records.found.values()]
        known += self.work.values()
        known += self.others.found.values() if self.others is not None else ()
        return [one for one in known if one.node_id in wanted]

    async def _often(self, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            await what()
            await trio.sleep(limits.VALIDATOR_REFRESH_MS / 1000)

    async def judge_work(self) -> None:
        """One round of judging, if the policy names a judge; what fails is tried again."""
        if self.judging is None:
            return
        try:
            done, found = await self.judging.round(self.options.address, wall_ms)
        except P2poolError as error:
            self.metrics.failed("judge")
            log.warning("work was not judged", why=error.message, hint=error.hint)
            return
        if done.unread:
            log.info("submitted work could not be read", why=done.unread)
        fresh = {one.node_id for one in found if one.finding_id not in self.work}
        self.work = {one.finding_id: one for one in found}
        self._look_at(fresh)

    async def hear_others(self) -> None:
        """What other validators found of the nodes that failed here lately, if an agent tells. One
        that passed since is still one: its failures count as long as the policy says."""
        if self.others is None:
            return
        since_ms = wall_ms() - 1000 * self.options.policy.policy.finding_age_max_s
        self._look_at(await self.others.look(self.records.failed_since(since_ms)))

    def unheard(self, nodes: Iterable[NodeId]) -> set[NodeId]:
        """Those of them of which nobody has said yet, or says now, what others found. Without an
        agent to ask, nobody is expected to."""
        return set() if self.others is None else set(nodes) - self.others.heard

    def _look_at(self, nodes: Collection[NodeId]) -> None:
        self.turns.left |= set(nodes)
        if nodes:
            self._found.set()

    # --- around it ------------------------------------------------------------------------------

    async def _serve(self, nursery: trio.Nursery) -> None:
        if not self.options.metrics_bind:
            return
        serve = partial(serve_metrics, self.options.metrics_bind, self.metrics.render)
        where = await nursery.start(serve)
        log.info("metrics", url=f"http://{where}/metrics")

    def _tell_start(self) -> None:
        policy = self.options.policy
        log.info(
            "validator started",
            account=address_text(self.options.address),
            pool=self.options.pool.pool_id,
            open_acts=len(self.turns.executor.journal.open_acts),
            findings=len(self.records.found),
        )
        if policy.dry_run:
            log.warning(
                "DRY RUN: nothing is sent to the chain, because the policy says so or says nothing;"
                " set [policy] dry_run = false in its file once what it shows is right"
            )
        else:
            log.info("acts are sent", coin_per_day=policy.budget.coin_per_day)

    def gauges(self) -> dict[str, tuple[str, float]]:
        """What is read at a scrape."""
        acts = self.turns.executor.journal
        return {
            "nodes": ("Nodes that are followed.", len(self.watch.candidates)),
            "peers": ("Peers that are reached.", len(self.network.reached())),
            "providers_busy": ("Providers that are being challenged.", len(self.busy)),
            "findings_kept": ("Findings in the index.", len(self.records.found)),
            "acts_open": ("Acts that are not over yet.", len(acts.open_acts)),
            "offers_waiting": ("Verdicts that no member has yet.", len(self.offers.waiting)),
            "dry_run": ("Whether nothing is sent.", int(self.options.policy.dry_run)),
            "chain_unreachable": ("Whether the chain cannot be read.", int(self._unreachable)),
        }


# --- how it is made -----------------------------------------------------------------------------


async def check_role(options: ValidatorOptions, chain: PoolContracts, *, patient: bool) -> None:
    """`NotAllowed` unless the account is a validator. `patient`: wait for an endpoint that says."""
    told = False
    while True:
        try:
            roles = await Roles.of(chain, options.address)
            roles.check_validator()
            return
        except ChainUnavailable as error:
            if not patient:
                raise
            if not told:
                log.warning("waiting for the chain to say who we are", why=error.message)
            told = True
        await trio.sleep(limits.VALIDATOR_RETRY_MS / 1000)


async def fresh_binding(options: ValidatorOptions, seed: bytes) -> PeerBinding:
    """A binding of the account and the peer key from now on. Its signer may wait for a person."""
    sign = partial(make_binding, options.pool, options.account, SigningKey(seed), wall_ms() // 1000)
    return await trio.to_thread.run_sync(sign, abandon_on_cancel=True)


def process_of(
    options: ValidatorOptions,
    chain: PoolContracts,
    journal: ActJournal,
    records: Records,
    seed: bytes,
    binding: PeerBinding,
) -> ValidatorProcess:
    """All parts of one run, wired."""
    metrics, policy = Metrics(), options.policy
    network = GuestNetwork(
        GuestOptions(
            pool=options.pool,
            node_id=options.node_id,
            seed=seed,
            bootstrap=options.bootstrap,
            listen=options.listen,
        ),
        binding,
    )

    pool, agent = options.pool, options.agent
    where = WorkChain(chain, options.chain.final_depth)
    made = ValidatorProcess(
        options=options,
        watch=Watch(chain, options.chain, options.pool.pool_id, known=tuple(records.newest())),
        network=network,
        records=records,
        turns=Turns(
            policy=policy,
            executor=executor_of(options, chain, journal),
            findings=lambda nodes: made.findings(nodes),
            unheard=lambda nodes: made.unheard(nodes),
            metrics=metrics,
            now_ms=wall_ms,
        ),
        challenges=Challenges(options, network, records, metrics),
        offers=Offers(network, records, metrics),
        metrics=metrics,
        rota=Rota(1000 * policy.validate.apart_s, 1000 * options.every_s),
        binding=binding,
        others=None if agent is None else Others(agent, chain, pool, options.address),
        judging=WorkJudging.of(policy.work, where, options.directory, pool),
    )
    metrics.gauges = made.gauges
    for record in records.found.values():
        made.rota.told(record.finding)
        made.turns.left.add(record.finding.node_id)
        if wall_ms() - record.finding.at_ms < 1000 * policy.slash.agree_within_s:
            made.offers.add(record)
    return made


async def first_peers(
    options: ValidatorOptions, chain: PoolContracts, *, patient: bool
) -> tuple[str, ...]:
    """Whom to dial first: those of the configuration, and those that the pool names on the chain.
    `NotFound`: there is no such pool."""
    while True:
        try:
            named = (await chain.pool(options.pool.pool_id)).bootstrap
            break
        except ChainUnavailable:
            if not patient:
                raise
        await trio.sleep(limits.VALIDATOR_RETRY_MS / 1000)
    good = []
    for text in named:
        with suppress(Misconfigured):
            parse_full_address(text)
            good.append(text)
    return (*options.bootstrap, *good)


@asynccontextmanager
async def opened(options: ValidatorOptions, *, patient: bool) -> AsyncIterator[ValidatorProcess]:
    """A process in its directory, on the network. Raises whatever prevents that."""
    chain = PoolContracts.of(options.chain)
    await check_role(options, chain, patient=patient)
    peers = await first_peers(options, chain, patient=patient)
    if options.transactions in options.directory.parents:
        # Made by us, it has to be as private as its agent wants it.
        await trio.to_thread.run_sync(prepare_directory, options.transactions)
    await trio.to_thread.run_sync(prepare_directory, options.directory)
    seed = await trio.to_thread.run_sync(load_or_make_peer_seed, options.directory)
    owner = Owner(options.chain.id, chain.at.network, options.address)
    with ActJournal.opened(options.directory, owner) as journal:
        records = await trio.to_thread.run_sync(Records.opened, options.directory, owner, record_of)
        binding = await fresh_binding(options, seed)
        options = attrs.evolve(options, bootstrap=peers)
        process = process_of(options, chain, journal, records, seed, binding)
        async with process.network.running():
            yield process


@contextmanager
def plainly() -> Iterator[None]:
    """An error of ours by itself, in place of the groups that it came in."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(P2poolError)
        if ours is None or others is not None:
            raise
        error: BaseException = ours
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__


async def run_validator(
    options: ValidatorOptions,
    stop: trio.Event,
    started: Started = lambda process: None,
    *,
    once: bool = False,
) -> list[Result]:
    """Run until `stop` is set, or with `once` until every node was challenged once; what came of
    that. Raises whatever prevents the start."""
    found: list[Result] = []

    async def watch(scope: trio.CancelScope) -> None:
        await stop.wait()
        scope.cancel()

    with plainly():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            async with opened(options, patient=not once) as process:
                if once:
                    found = await process.run_once(started)
                else:
                    await process.run(started)
            nursery.cancel_scope.cancel()
    return found


async def check_node(options: ValidatorOptions, node_id: NodeId) -> Result:
    """Challenge one node by hand. `NotFound`: the registry does not have it; `Unavailable`: we
    reach nobody, or the finding could not be kept."""
    with plainly():
        async with opened(options, patient=False) as process:
            return await process.run_for(node_id)
    raise AssertionError("a check ends in a result or an error")
