"""What follows from findings: a file of rules, and a function of findings, history and budget."""
