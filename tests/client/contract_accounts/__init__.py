"""Commands that sign for a contract account, or have others sign."""
