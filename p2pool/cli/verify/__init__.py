"""`p2pool verify`: checks by a stranger, who trusts no agent."""
