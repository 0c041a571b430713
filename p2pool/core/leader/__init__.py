"""What the leader does: judge nodes, keep the committee, give orders."""
