"""What a voter does besides Raft: sign, promise, and vouch for its store."""
