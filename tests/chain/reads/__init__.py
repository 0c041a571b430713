"""What the follower of the chain asks of endpoints, and what it bears from them."""
