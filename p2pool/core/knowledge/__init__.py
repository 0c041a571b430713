"""What this node knows of others: plain books with rules, which ask nobody."""
