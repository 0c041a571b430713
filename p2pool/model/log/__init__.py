"""Raft's nouns, the bodies of log entries, certificates."""
