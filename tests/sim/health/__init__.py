"""Scenarios of the failure detector, and of what follows from its verdicts."""
