"""Accounts that are contracts (ERC-1271): what the chain says of their signatures."""
