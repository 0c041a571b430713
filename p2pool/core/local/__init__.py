"""The machine that this node stands for."""
