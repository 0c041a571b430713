"""What peers exchange in any role: bindings, probes, suspicions."""
