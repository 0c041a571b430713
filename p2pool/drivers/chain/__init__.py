"""The chain: endpoints, contracts, the roster, and transactions in order."""
