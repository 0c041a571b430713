"""What peers exchange whatever their role: bindings, probes, suspicions."""
