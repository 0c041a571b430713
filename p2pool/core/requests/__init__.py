"""Client requests at this node, from arrival to answer."""
