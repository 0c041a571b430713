"""The tree of errors, by who is at fault and what can be done.

    P2poolError
    |-- Refusal            somebody else's fault: invalid bytes, request or right
    |   |-- Malformed          not the canonical form, too long, unknown critical extension
    |   |   `-- TooNew             a newer version wrote it
    |   |-- BadSignature       a signature that does not verify, or by the wrong key
    |   |-- NotForUs           another chain, contract, pool, purpose or recipient
    |   |-- Stale              replayed, expired, or from the future
    |   |-- TooMany            more messages than the sender may send
    |   |-- NotAllowed         well formed, but the signer has no right to it
    |   |-- BadSpec            a task specification that makes no sense
    |   |-- Conflict           clashes with something that exists
    |   |   `-- Overtaken          another transaction of the account came between
    |   |-- NotFound           names something that does not exist
    |   |   |-- ImageNotFound      the registry does not have the image
    |   |   `-- ImageNotHere       this node lacks it, and the task forbids pulling it
    |   |-- ImageRefused       this node takes no images from there
    |   |-- RegistryDenied     the registry does not let this node read the image
    |   |-- UnknownCommittee   a certificate of a committee that our log does not show (`core`)
    |   |-- WrongPlatform      the image is not made for this node's processor
    |   |-- HostPortTaken      a port of this node that a container asked for is in use
    |   |-- NotOffered         a mount or a port that this node does not offer to tasks
    |   |-- NodeExhausted      this node has no room for a container just now
    |   |-- NodeCannotStart    a container that this node cannot start, and another may
    |   `-- CannotStart        a container that cannot start as specified, on any node
    |-- Unavailable        a failure of the outside world, worth another try
    |   |-- NoLeader           no leader is known, or it did not answer in time
    |   |-- ChainUnavailable   no endpoint gives a usable answer
    |   |   |-- TransactionStuck   it was sent, and is in no block yet
    |   |   `-- FeesTooHigh        a block costs more than the configuration allows
    |   |-- RuntimeUnavailable the container engine does not answer
    |   |   `-- DirectoryUnseen    it does not see a directory that the agent sees
    |   |-- RegistryUnavailable  the image's registry does not answer
    |   |-- DiskFull           no space for an image or a container
    |   |-- StoreFailed        the disk refuses to write
    |   `-- Overloaded         a bound was reached; try later
    `-- Misconfigured      the operator's fault: says what to change
        |-- WrongChain         chain id or contract differ from the configuration
        |-- Superseded         another agent runs with this one's keys, and started later
        |-- DataDirInUse       another agent holds the data directory, or it belongs to another pool
        |-- TooOld             the pool's log, or the store, needs a newer version of this program
        |-- PortTaken          an address cannot be bound
        |-- NoGpuSupport       the container engine cannot hand out GPUs
        |-- BadKey             a key file that cannot be read, or its passphrase is wrong
        `-- TransactionFailed  the chain refused a transaction; the message says why

Our own bugs are assertions and crash. Each error carries `code` (kebab-case, stable, shown by the
API), a sentence for people, and `hint`, the next step. Agents and clients identify an error by its
code; `error_for_code` turns a code back into an error.
"""

from collections.abc import Iterator
from typing import ClassVar

_PRIVILEGED_PORTS = 1024


class P2poolError(Exception):
    """Root of all errors that this program raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the sentence and the hint."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The sentence, followed by the hint."""
        return f"{self.message} {self.hint}".rstrip()


class Refusal(P2poolError):
    """Somebody else's fault: they sent something invalid."""

    code = "refused"


class Malformed(Refusal):
    """Bytes that are not in a message's one canonical form."""

    code = "malformed"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        """Keep every problem found, if a reader reports all at once."""
        super().__init__(message, hint=hint)
        self.problems = problems


class TooNew(Malformed):
    """Well formed, as far as can be seen, by a version that knows more than this one."""

    code = "too-new"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        """Whatever it is, upgrading is what helps."""
        super().__init__(message, hint=hint or "Upgrade p2pool.", problems=problems)


class BadSignature(Refusal):
    """A signature that does not verify under the required key."""

    code = "bad-signature"


class NotForUs(Refusal):
    """Good bytes meant for another chain, contract, pool, purpose or peer."""

    code = "not-for-us"


class Stale(Refusal):
    """Replayed, expired, or dated in the future."""

    code = "stale"


class TooMany(Refusal):
    """More messages than the sender may send in that time."""

    code = "too-many"


class NotAllowed(Refusal):
    """The signer has no right to this request."""

    code = "not-allowed"


class BadSpec(Refusal):
    """A task specification that makes no sense; `problems` lists everything wrong with it."""

    code = "bad-spec"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        """Keep every problem found, so that one round trip is enough to fix them all."""
        super().__init__(message, hint=hint)
        self.problems = problems


class Conflict(Refusal):
    """Clashes with something that exists."""

    code = "conflict"


class Overtaken(Conflict):
    """Another transaction of the account came between the plan and this one: the plan may be void,
    and nothing was sent."""

    code = "overtaken"


class NotFound(Refusal):
    """Names something that does not exist."""

    code = "not-found"


class ImageNotFound(NotFound):
    """The registry does not have the image, or not under this name."""

    code = "image-not-found"


class ImageNotHere(NotFound):
    """The image is not on this node, and its task forbids pulling it."""

    code = "image-not-here"


class ImageRefused(Refusal):
    """This node's owner accepts no images from there."""

    code = "image-refused"


class RegistryDenied(Refusal):
    """The registry does not let this node read the image: no login, or the wrong one."""

    code = "registry-denied"


class WrongPlatform(Refusal):
    """The image is for another processor or operating system than this node's."""

    code = "wrong-platform"


class HostPortTaken(Refusal):
    """Something on this node listens on a port that the container publishes."""

    code = "host-port-taken"


class NotOffered(Refusal):
    """This node's owner, or its runtime, does not offer what the container asks for."""

    code = "not-offered"


class NodeExhausted(Refusal):
    """Just now this node lacks something that each container takes: an address, memory."""

    code = "node-exhausted"


class NodeCannotStart(Refusal):
    """This node or its engine cannot create or start the container; another node may."""

    code = "node-cannot-start"


class CannotStart(Refusal):
    """A container that cannot be created or started as its task specifies, on any node."""

    code = "cannot-start"


class Unavailable(P2poolError):
    """A failure of the outside world: may pass if tried again."""

    code = "unavailable"


class NoLeader(Unavailable):
    """No leader is known, or it did not answer before the deadline."""

    code = "no-leader"


class ChainUnavailable(Unavailable):
    """No RPC endpoint gives a usable answer."""

    code = "chain-unavailable"


class TransactionStuck(ChainUnavailable):
    """It was sent and is in no block yet: the next try goes on with it, at the same nonce."""

    code = "transaction-stuck"


class FeesTooHigh(ChainUnavailable):
    """A place in a block costs more than `[chain] fee_max_gwei` allows: nothing was sent."""

    code = "fees-too-high"


class RuntimeUnavailable(Unavailable):
    """The container engine does not answer, or failed at a request."""

    code = "runtime-unavailable"


class DirectoryUnseen(RuntimeUnavailable):
    """The container engine does not see a directory that the agent sees."""

    code = "directory-unseen"


class RegistryUnavailable(Unavailable):
    """The registry of an image does not answer."""

    code = "registry-unavailable"


class DiskFull(Unavailable):
    """No space is left for an image or a container."""

    code = "disk-full"


class StoreFailed(Unavailable):
    """The disk refused to write."""

    code = "store-failed"


class Overloaded(Unavailable):
    """A bound was reached."""

    code = "overloaded"


class Misconfigured(P2poolError):
    """The operator has to change something; the message says what."""

    code = "misconfigured"


class WrongChain(Misconfigured):
    """The endpoint's chain id, or the code at an address, differs from the configuration."""

    code = "wrong-chain"


class DataDirInUse(Misconfigured):
    """Another agent holds the data directory, or it belongs to another pool, node or chain."""

    code = "data-dir-in-use"


class Superseded(Misconfigured):
    """Another agent runs with this one's keys, and started later: this one ended."""

    code = "superseded"


class TooOld(Misconfigured):
    """The pool's log is at a feature level that this program does not know, or the store in a form
    that it does not know."""

    code = "too-old"


class PortTaken(Misconfigured):
    """An address to listen on cannot be bound."""

    code = "port-taken"

    @classmethod
    def at(cls, where: str, port: int, reason: str, what: str = "") -> "PortTaken":
        """`what` (empty: this program) cannot listen on an address, with the system's `reason`; the
        hint says how to find the process that holds the port."""
        if "use" in reason or "taken" in reason:
            hint = (
                f"See who listens there: sudo ss -ltnp 'sport = :{port}'. Stop it, or set another"
                " port; port 0 takes a free one."
            )
        elif 0 < port < _PRIVILEGED_PORTS:
            hint = f"Ports below {_PRIVILEGED_PORTS} are root's; port 0 takes a free one."
        else:
            hint = "Set an address of this machine (see: ip address), or port 0 for a free port."
        who = f"{what} cannot" if what else "Cannot"
        return cls(f"{who} listen on {where}: {reason}.", hint=hint)


class NoGpuSupport(Misconfigured):
    """The container engine cannot hand out GPUs."""

    code = "no-gpu-support"


class BadKey(Misconfigured):
    """A key file that cannot be read, or whose passphrase is wrong."""

    code = "bad-key"


class TransactionFailed(Misconfigured):
    """The chain refused a transaction, or would; the message says why in a sentence."""

    code = "transaction-failed"


def error_for_code(
    code: object,
    message: str,
    *,
    hint: str = "",
    problems: tuple[str, ...] = (),
    unknown: type[P2poolError] = Unavailable,
) -> P2poolError:
    """The error with a code that another process reported; of class `unknown` if we do not know
    the code. `problems` go to the errors that list them."""
    found = (cls for cls in _derived(P2poolError) if cls.code == code)
    cls = next(found, unknown)
    if issubclass(cls, BadSpec | Malformed):
        return cls(message, hint=hint, problems=problems)
    return cls(message, hint=hint)


def _derived(root: type[P2poolError]) -> Iterator[type[P2poolError]]:
    """All subclasses, each before those that inherit its code."""
    for cls in root.__subclasses__():
        yield cls
        yield from _derived(cls)
