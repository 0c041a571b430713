"""Raft as a pure state machine: election, replication, snapshots, membership."""
