"""A machine's resources, what pools and tasks require of it, and whether it meets that."""
