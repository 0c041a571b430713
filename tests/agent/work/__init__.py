"""Work of copies on its way to the chain."""
