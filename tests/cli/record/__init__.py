"""Requirements and root records on the chain, as their commands change them."""
