"""What p2pool does on contracts that others deployed: ours with the manners of theirs."""
