"""What a voter does besides Raft."""
