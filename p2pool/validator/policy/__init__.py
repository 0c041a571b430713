"""What follows from findings: a file of rules, and a function of findings, history and budget.

One round of a validator: `chain_history` reads what the chain says of the nodes that were checked,
`decision` decides, a pure function, what follows, and `execution` keeps it in the `journal` and
sends it, so that a restart neither loses nor doubles it.
"""
