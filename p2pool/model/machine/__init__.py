"""What a machine has, and what it must have."""
