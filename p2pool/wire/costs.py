"""What a message costs before anything inside it is believed: the signatures that it carries.

Intuition: a frame has one signature outside, and up to a thousand inside. Checking one takes a
tenth of a millisecond, so whoever sends them is charged for all of them first. Their number follows
from the message's shape, and nothing is verified to know it.

Invariants: whatever verifies what a message carries has its count here. A cost is a bound: what is
in a cache costs less. The requests in log entries are not counted here: a follower charges its
leader for them when it is about to append them (`core.log.request_check`).
Source: docs/design/messages.md, "What a peer may cost".
"""

from p2pool.model import limits
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, HeartbeatsAnswered, InviteAnswered
from p2pool.model.messages.registry import Message
from p2pool.wire.enclosures import enclosed_in
from p2pool.wire.signers import requests_in
from p2pool.wire.validation.verdict import verdicts_in

BINDING_CHECKS = 2
"""A binding is signed by both its keys."""


def checks_in(message: Message) -> int:
    """How many signatures would be checked inside a message, at most."""
    requests = sum(1 + (signed.delegation is not None) for signed in requests_in(message))
    return len(enclosed_in(message)) + requests + _checks_of_its_own(message)


def _checks_of_its_own(message: Message) -> int:
    """Those of messages whose signatures are neither in envelopes nor in requests."""
    if isinstance(message, Hello):
        return BINDING_CHECKS if message.binding is not None else 0
    if isinstance(message, BindingsAnswered):
        return BINDING_CHECKS * len(message.peers)
    if isinstance(message, HeartbeatsAnswered):
        return min(len(message.sealed), limits.BEATS_PER_ANSWER_MAX)
    if isinstance(message, InviteAnswered):
        return 1 if message.invite is not None else 0
    return len(verdicts_in(message))
