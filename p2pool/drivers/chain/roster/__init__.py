"""Who belongs to the pool, as the chain says it: read, followed, and what an event is about."""
