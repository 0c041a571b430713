"""What a stranger checks of a validation, offline: the work, the commitments, the conclusion."""
