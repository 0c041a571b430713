"""How public keys and numbers look as bytes."""
