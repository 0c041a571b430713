"""The attacker: a process of its own, with raw sockets, its own muxer and keys of its own."""
