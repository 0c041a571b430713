"""A machine's resources, and a pool's requirements."""
