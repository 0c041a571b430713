"""The commands below `p2pool provider`."""
