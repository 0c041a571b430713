"""The libp2p host, guarded."""
