"""The validator on the pool's network: a guest that finds nodes, and talks to them."""
