"""Who leads, as far as this node can tell: announced, certified, and last known."""
