"""All attacks by name, and those that are tried together in a test."""

from tests.attacks.attacker import api, bindings, connections, floods
from tests.attacks.attacker.stage import ATTACKS

ROOMS = (connections, floods, bindings, api)
"""The modules in which the attacks are, which register them."""
NAMES = tuple(ATTACKS)
TOGETHER = {
    "windows": ("window", "window-many"),
    "before-authentication": ("window-before-hello", "frames-unauthenticated", "half-handshakes"),
    "addresses-and-places": ("addresses", "answers", "dials"),
    "claims-about-oneself": ("identify-push", "identities"),
    "questions-unread": ("deaf", "slow-frames"),
    "signatures-unasked": ("signatures", "signatures-many", "signatures-churn"),
    "nodes-that-are-none": ("made-up", "made-up-everywhere"),
    "places-taken": ("silent", "slots", "slow-select"),
    "places-taken-from-everywhere": ("silent-everywhere", "slots-everywhere"),
    "muxer-and-gossip": ("resets", "gossip"),
    "api": ("api-idle", "api-slow", "api-half-body", "api-pipeline"),
}
"""What a test tries in ten seconds: attacks that one bound is to hold against."""
AT_BOOTSTRAP = ("made-up", "made-up-everywhere")
"""Those whose victim is the bootstrap node."""
