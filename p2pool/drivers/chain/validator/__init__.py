"""What a validator of the network does on the chain: its roles, and plans of its acts."""
