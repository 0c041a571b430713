"""What goes wrong in a run: faults, liars, operators, and bugs planted in the code."""
