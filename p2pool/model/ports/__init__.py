"""The protocols between layers, with their records."""
