"""What this node knows of others: plain tables with rules, which do no I/O."""
