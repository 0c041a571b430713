"""What an EVM chain takes: transactions, and the signatures of accounts."""
