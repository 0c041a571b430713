"""The log of the pool as this node holds it: consensus, state and snapshots."""
