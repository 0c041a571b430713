"""Peers that send as much as they can: it costs them their turn, and nobody else's."""
