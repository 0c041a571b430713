"""What the leader does: judge nodes, keep the committee whole, give orders."""
