"""What delegates may have of a pool: by their quotas, and as long as nobody revoked them."""
