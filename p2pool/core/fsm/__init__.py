"""The replicated state machine: what entries change, and who may ask for what."""
