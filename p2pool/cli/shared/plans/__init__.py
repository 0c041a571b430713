"""What commands share that plan what they send to the chain: options, pages, and the sending."""
