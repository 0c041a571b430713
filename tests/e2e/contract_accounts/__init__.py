"""A pool of real agents whose manager is a contract."""
