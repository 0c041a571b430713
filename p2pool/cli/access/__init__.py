"""The commands below `p2pool access`."""
