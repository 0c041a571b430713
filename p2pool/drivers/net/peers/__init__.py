"""Who the peers are, where they are, when to dial them."""
