"""The hardware challenge: its plan, its rounds and the bounds that follow from their times."""
