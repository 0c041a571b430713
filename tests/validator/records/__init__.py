"""What a validator keeps on its disk."""
