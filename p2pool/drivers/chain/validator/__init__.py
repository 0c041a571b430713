"""What a validator does on the chain: its roles, plans of its acts, and the work that it judges."""
