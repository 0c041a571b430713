"""The pool's log as this node holds it: consensus, state and snapshots."""
