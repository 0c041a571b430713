"""The contract that keeps the record of pools, and what is written where."""
