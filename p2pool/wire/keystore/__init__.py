"""Version 3 keystores: an account's key under a passphrase, as wallets write it."""
