"""What a validator asks a node to prove about its hardware, and what comes of it."""
