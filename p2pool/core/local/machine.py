"""This node's machine: its hardware as observed, and what keeps it from working.

Each trouble is a sentence, for the node's heartbeat (no work should come) and for its own status
(`local.problems`). No flag hides it.
"""

import attrs

from p2pool.codec.digests import hardware_digest
from p2pool.core import inputs
from p2pool.core.context import Context
from p2pool.core.node_status import NodeStatus
from p2pool.core.peers.exchange import PeerExchange
from p2pool.core.worker.worker import Worker
from p2pool.model.ids import Digest
from p2pool.model.machine.hardware import Hardware, Load
from p2pool.model.timing import Now


@attrs.define
class Machine:
    """What this node observes of its machine."""

    context: Context
    worker: Worker
    exchange: PeerExchange
    hardware: Hardware | None = None
    digest: Digest = Digest(b"")
    load: Load = Load()
    addresses: tuple[str, ...] = ()
    hardware_trouble: str | None = None
    notes: tuple[str, ...] = ()
    runtime_reason: str | None = "the container runtime has not answered yet"

    # --- observations -----------------------------------------------------------------------------

    def on_hardware_observed(self, event: inputs.HardwareObserved, now: Now) -> None:
        """What the machine offers, and its load."""
        if event.hardware != self.hardware:
            self.digest = hardware_digest(event.hardware)
        self.hardware = self.exchange.hardware = event.hardware
        self.load = event.load
        self.hardware_trouble, self.notes = event.trouble, event.notes
        self.worker.gpus_lost(event.lost_gpus)

    def on_runtime_observed(self, event: inputs.RuntimeObserved, now: Now) -> None:
        """Whether the engine can run containers."""
        self.runtime_reason = None if event.well else event.reason or "it does not answer"
        self.worker.runtime(event.well)

    def on_addresses_observed(self, event: inputs.AddressesObserved, now: Now) -> None:
        """Where others can dial this agent."""
        self.addresses = event.addresses

    # --- troubles ---------------------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """Why no work should come here, or None."""
        status = self.context.status
        if status.value is NodeStatus.STORE_FAILED:
            return f"cannot write: {status.reason}"
        if status.reason is not None:
            return status.reason
        if self.context.me in self.context.duplicate_identities:
            return (
                "another agent runs with this one's keys: stop one of the two, and never copy a "
                "data directory"
            )
        machine = self.runtime_reason or self.hardware_trouble or self.worker.starts.trouble
        return self.context.clocks.wrong or machine

    @property
    def reason(self) -> str | None:
        """What to report of this node: its trouble, or the faults of single parts."""
        return self.trouble or " ".join(self.notes) or None
