"""The machine that this node runs on."""
