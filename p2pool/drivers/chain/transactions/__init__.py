"""How transactions get into blocks: what they pay, what is kept of them, and how refusals read."""
