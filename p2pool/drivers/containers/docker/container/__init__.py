"""One container: its plan, its labels, its state."""
