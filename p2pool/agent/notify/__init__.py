"""The pool's events, sent to those whom the operator named."""
