"""What clients ask of this node, until they have their answer."""
