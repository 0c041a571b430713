"""Chaos: real agents under load and under faults, and a check of what their clients were told."""
