"""`p2pool validator`: acts of a validator of the network."""
