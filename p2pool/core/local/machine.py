"""How one node is: what its machine has, what keeps it from working, and what it says of that.

Everything that speaks against a node is a sentence here, for its heartbeat (no work should come)
and for its own status (who has to do what). Nothing is hidden behind a flag.
"""

import attrs

from p2pool.codec.digests import hardware_digest
from p2pool.core import inputs
from p2pool.core.context import Context
from p2pool.core.local.heartbeat import heartbeat
from p2pool.core.peers.exchange import PeerExchange
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.worker.worker import Worker
from p2pool.model.ids import Digest
from p2pool.model.log.raft import majority
from p2pool.model.machine.hardware import Hardware, Load
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.timing import Now


@attrs.define
class Machine:
    """What is observed of this machine. `failed`: why nothing can be kept any more."""

    context: Context
    worker: Worker
    neighbours: PeerExchange
    succession: LeaderEligibility
    hardware: Hardware | None = None
    digest: Digest = Digest(b"")
    load: Load = Load()
    addresses: tuple[str, ...] = ()
    hardware_trouble: str = ""
    notes: tuple[str, ...] = ()
    runtime_reason: str = "the container runtime was not asked yet"
    failed: str = ""
    said_last: bool = False

    # --- what is observed -------------------------------------------------------------------------

    def hardware_observed(self, event: inputs.HardwareObserved, now: Now) -> None:
        """What the machine offers, and its load."""
        if event.hardware != self.hardware:
            self.digest = hardware_digest(event.hardware)
        self.hardware = self.neighbours.hardware = event.hardware
        self.load = event.load
        self.hardware_trouble, self.notes = event.trouble, event.notes
        self.worker.gpus_lost(event.lost_gpus)

    def runtime_observed(self, event: inputs.RuntimeObserved, now: Now) -> None:
        """Whether containers can be run."""
        self.runtime_reason = "" if event.well else event.reason or "it does not answer"
        self.worker.runtime(event.well, event.reason)

    def addresses_observed(self, event: inputs.AddressesObserved, now: Now) -> None:
        """Where others can dial this agent."""
        self.addresses = event.addresses

    # --- what it says -----------------------------------------------------------------------------

    @property
    def speaks(self) -> bool:
        """Whether this node sends heartbeats: a member that knows what it has."""
        return self.hardware is not None and self.context.roster.belongs(self.context.me)

    def beat(self, now: Now) -> None:
        """Our heartbeat, where it is due; it is heard here as it is by others."""
        context = self.context
        context.doubles(now)
        content = self._content(now)
        if content is None:
            return
        context.beats.offer(content)
        due = context.beats.take_due(content, context.roster.size(), now)
        context.beats.hear_own(context.me, content, context.config.incarnation, now)
        context.roster.heard(context.me, now)
        if due is not None:
            context.publish(due)

    def last_word(self, now: Now) -> Heartbeat | None:
        """Once, as this node falls silent for another that runs with its keys: it takes no work."""
        if self.said_last or not self.context.peers.superseded:
            return None
        self.said_last = True
        return self._content(now)

    def _content(self, now: Now) -> Heartbeat | None:
        """What this node would say now."""
        if self.hardware is None or not self.speaks:
            return None
        return heartbeat(
            self.context, self.worker, self.hardware, self.digest, self.load, self.addresses,
            not self.trouble, self.reason, now,
        )  # fmt: skip

    @property
    def trouble(self) -> str:
        """Why no work should come here, or ""."""
        if self.failed:
            return f"cannot write: {self.failed}"
        if self.context.peers.superseded:
            return self.context.peers.superseded
        if self.context.me in self.context.doubled:
            return (
                "another agent runs with this one's keys: stop one of the two, and never copy a "
                "data directory"
            )
        return self.context.clocks.wrong or self.runtime_reason or self.hardware_trouble

    @property
    def reason(self) -> str:
        """What is told of this node: its trouble, or what is wrong with a part of it."""
        return self.trouble or " ".join(self.notes)

    def problems(self, now: Now) -> tuple[str, ...]:
        """What keeps this node from taking part, and who has to do what."""
        context, out = self.context, [self.trouble] if self.trouble else []
        roster = context.roster
        if context.certified.diverged:
            out.append(context.certified.diverged)
        if context.ledger.leads:
            told = (context.certified.problem, context.certified.disagreement)
            out += [problem for problem in told if problem]
        if roster.problem:
            out.append(f"The chain cannot be read: {roster.problem}")
        if not roster.known:
            return (*out, "The pool's roster was not read yet.")
        if not roster.belongs(context.me):
            out.append("This node is not in the pool: `p2pool agent run --provider-key` joins it.")
        if roster.root is None:
            out.append(
                "The pool has no root record in a final block: its creator or manager runs "
                "`p2pool pool start`."
            )
        elif context.leader(now) is None:
            out.append(self._why_no_leader())
        state = context.ledger.state
        if state is not None and state.held_until_ms:
            minutes = max(1, (state.held_until_ms - now.wall_ms) // 60_000)
            out.append(
                f"Replacement of what ran on nodes that vanished is held: {state.held_because}. "
                f"Look at the network; it goes on in {minutes} min, or when they are back."
            )
        out += [said for said in (context.clocks.differing, self.succession.disputed) if said]
        return tuple(out)

    def _why_no_leader(self) -> str:
        """Who has to do what before somebody can lead."""
        ledger = self.context.ledger
        root = ledger.root
        if ledger.refusal:
            return ledger.refusal
        unbegun = ledger.raft is not None and ledger.raft.state.log.last_index == 0
        if root is None or not unbegun:
            return self._no_quorum() or "The pool has no leader now."
        return (
            f"Epoch {root.epoch} of the log has not begun here: node 0x{root.founder.hex()} founds "
            "it, and has to run and be reached. If it is gone for good, the manager names another: "
            "`p2pool pool recover`."
        )

    def _no_quorum(self) -> str:
        """Which voters are missing, where too few of them are connected; else nothing."""
        voters, peers = self.context.ledger.configuration.voters, self.context.peers
        away = [v.node_id for v in voters if v.node_id != self.context.me]
        away = [node_id for node_id in away if not peers.is_connected(node_id)]
        needed = majority(len(voters))
        if not voters or len(voters) - len(away) >= needed:
            return ""
        named = ", ".join(f"0x{node_id.hex()}" for node_id in away)
        return (
            f"The pool has no quorum here: {len(voters) - len(away)} of {len(voters)} voters are "
            f"connected, and {needed} are needed. What runs goes on, and so do reads; nothing is "
            f"written until enough of these are back: {named}."
        )
