"""A provider's and a manager's life on the chain: what is read, what is planned, what is sent."""
