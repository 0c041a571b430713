"""The pool's events reach those whom the operator named, and cost the agent nothing else."""
