"""The prover: the program that shows on a device what the device can do, for a p2pool validator.

It runs as a container beside the agent, imports nothing of p2pool, and knows no keys, no pool and
no network: the agent hands it seeds, it hands back roots, rows and fingerprints. What a seed stands
for, and what all bytes look like, is in docs/design/validation.md, section "Bytes".
"""
