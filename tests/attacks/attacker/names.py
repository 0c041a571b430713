"""All attacks by name."""

from tests.attacks.attacker import api, bindings, connections, floods
from tests.attacks.attacker.stage import ATTACKS

ROOMS = (connections, floods, bindings, api)
"""The modules in which the attacks are, which register them."""
NAMES = tuple(ATTACKS)
