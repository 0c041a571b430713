"""The pool's replicated state, how entries change it, and what a leader does with it."""
