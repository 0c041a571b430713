"""The replicated state machine: what entries decide, and who may ask for what."""
