"""What accounts sign: requests, delegations, grants."""
