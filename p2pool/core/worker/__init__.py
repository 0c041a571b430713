"""The part of a node that runs its share of the containers."""
