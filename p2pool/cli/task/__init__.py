"""The commands below `p2pool task`."""
